import numpy as np
import pandas as pd
import pytest

from nnrs.features import mapping, read_features, read_names


def test_arrays_are_not_copied():
    x = np.zeros((3, 2), "float32")
    assert read_features(x) is x
    assert read_features([[1, 2]]).tolist() == [[1, 2]]


def test_frames_by_name():
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "on": [True, False]})
    assert read_names(frame) == ["a", "b", "on"]
    assert read_features(frame).tolist() == [[1, 0.5, 1], [2, 1.5, 0]]
    assert read_features(frame[["b", "on", "a"]], ["a", "b"]).tolist() == [[1, 0.5], [2, 1.5]]
    numbered = pd.DataFrame(np.eye(2))
    assert read_names(numbered) == ["0", "1"]
    assert read_features(numbered, ["1", "0"]).tolist() == [[0, 1], [1, 0]]
    nullable = pd.DataFrame({"a": pd.array([1, None], dtype="Int64")})
    np.testing.assert_array_equal(read_features(nullable), [[1], [np.nan]])
    with pytest.raises(ValueError, match="x lacks the column 'c'; expected the columns a, c"):
        read_features(frame, ["a", "c"])
    with pytest.raises(TypeError, match="x has the column 'd' of dtype"):
        read_features(frame.assign(d=["x", "y"]))


def test_memory_maps_stay(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((4, 3)))
    mapped = np.load(path, mmap_mode="r")
    assert read_features(mapped) is mapped
    assert mapping(mapped) is not None
    assert mapping(np.asarray(mapped)[1:].reshape(-1)) is mapping(mapped)
    assert mapping(np.array(mapped)) is None
    # What is computed from it lies in memory.
    assert mapping(mapped + 1) is None
    assert read_names(mapped) is None


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros(3), ValueError, r"x has shape \(3,\); expected \(batch, features\)"),
        (np.zeros((2, 2), complex), TypeError, "x has dtype complex128"),
        (np.array([["a", "b"]]), TypeError, "x has dtype"),
        (np.array([[1, None]], object), TypeError, "x has dtype object"),
    ],
)
def test_wrong_features(x, error, message):
    with pytest.raises(error, match=message):
        read_features(x)
