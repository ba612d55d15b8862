import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder as Reference

from nnrs.data import OneHotEncoder, batches, one_hot, train_test_split
from nnrs.data.split import split_rows


def test_split_keeps_rows_together_and_loses_none():
    x, y = np.arange(20).reshape(10, 2), np.arange(10)
    xt, xv, yt, yv = train_test_split(x, y, test_size=0.25, seed=0)
    assert (len(xt), len(xv)) == (7, 3)
    np.testing.assert_array_equal(xt[:, 0], 2 * yt)
    np.testing.assert_array_equal(xv[:, 0], 2 * yv)
    assert sorted([*yt, *yv]) == list(range(10))


def test_split_is_repeatable_and_depends_on_the_seed():
    rows = np.arange(100)
    once, again, other = (train_test_split(rows, seed=seed)[1] for seed in (3, 3, 4))
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)
    assert not np.array_equal(once, np.sort(once))


def test_split_sizes():
    assert [len(part) for part in train_test_split(np.arange(10), test_size=3, seed=0)] == [7, 3]
    assert [len(part) for part in train_test_split(np.arange(10), test_size=0.01, seed=0)] == [9, 1]
    for size, message in (
        (0, "at least 1"),
        (10, "fewer than all"),
        (0.0, "share between"),
        (1.0, "share between"),
    ):
        with pytest.raises(ValueError, match=message):
            train_test_split(np.arange(10), test_size=size, seed=0)
    with pytest.raises(ValueError, match="leaves none"):
        train_test_split(np.arange(1), test_size=0.5, seed=0)
    with pytest.raises(TypeError, match="test_size must be a float"):
        train_test_split(np.arange(10), test_size="0.2", seed=0)


def test_split_takes_lists_and_frames():
    frame = pd.DataFrame({"a": range(6), "b": list("uvwxyz")}, index=[5, 4, 3, 2, 1, 0])
    ft, fv, lt, lv = train_test_split(frame, list(range(6)), test_size=2, seed=1)
    assert isinstance(ft, pd.DataFrame)
    assert list(fv["a"]) == list(lv)
    assert list(ft["a"]) == list(lt)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 30), min_size=1, max_size=6), st.floats(0.05, 0.95), st.integers(0, 1000))
def test_stratified_split_keeps_shares(counts, share, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    rows = len(y)
    size = int(np.ceil(share * rows))
    if size == rows:
        size -= 1
    left, chosen = split_rows(rows, size, seed=seed, stratify=y)
    assert sorted([*left, *chosen]) == list(range(rows))
    assert len(chosen) == size
    got = np.bincount(y[chosen], minlength=len(counts))
    assert np.all(np.abs(got - np.array(counts) * size / rows) < 1)


def test_stratified_split_of_strings_is_random_and_seeded():
    y = np.array(["a"] * 40 + ["b"] * 20)
    rows = np.arange(60)
    parts = [train_test_split(rows, test_size=0.3, seed=seed, stratify=y)[1] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(parts[0], parts[1])
    assert set(parts[0]) != set(parts[2])
    assert (y[parts[0]] == "a").sum() == 12


@pytest.mark.parametrize(
    ("arrays", "arguments", "error", "message"),
    [
        ((), {}, TypeError, "at least one array"),
        (([1, 2], [1]), {}, ValueError, r"arrays\[1\] has 1 rows; expected 2"),
        (([1, 2, 3, 4],), {"stratify": [0, 0, 0, 1]}, ValueError, "one row only of the class"),
        (([1, 2, 3, 4],), {"stratify": [0, 0]}, ValueError, r"stratify has shape \(2,\); expected \(4,\)"),
        (([1] * 6,), {"stratify": [0, 1, 2] * 2, "test_size": 1}, ValueError, "test part has 1 rows"),
        (([1, 2],), {"seed": -1}, ValueError, "seed must be"),
    ],
)
def test_split_refuses(arrays, arguments, error, message):
    with pytest.raises(error, match=message):
        train_test_split(*arrays, **arguments)


def test_batches_cover_every_row_once_and_shuffle_anew():
    x, y = np.arange(14).reshape(7, 2), np.arange(7)
    parts = batches(x, y, 3, seed=0)
    assert len(parts) == 3
    passes = []
    for _ in range(2):
        seen = list(parts)
        assert [len(xb) for xb, _ in seen] == [3, 3, 1]
        labels = np.concatenate([yb for _, yb in seen])
        np.testing.assert_array_equal(np.concatenate([xb for xb, _ in seen])[:, 0], 2 * labels)
        assert sorted(labels) == list(range(7))
        passes.append(labels.tolist())
    assert passes[0] != passes[1]
    again = batches(x, y, 3, seed=0)
    assert [yb.tolist() for _, yb in again] == [passes[0][:3], passes[0][3:6], passes[0][6:]]


def test_batches_in_order_are_views():
    x = np.arange(10).reshape(5, 2)
    seen = [xb for xb, _ in batches(x, np.arange(5), 2, shuffle=False)]
    np.testing.assert_array_equal(np.concatenate(seen), x)
    assert all(np.shares_memory(xb, x) for xb in seen)


def test_batches_refuse():
    with pytest.raises(ValueError, match="y has 2 rows; expected 3, the rows of x"):
        batches(np.zeros(3), np.zeros(2), 1)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        batches(np.zeros(3), np.zeros(3), 0)
    with pytest.raises(TypeError, match="batch_size must be an int"):
        batches(np.zeros(3), np.zeros(3), 1.5)
    with pytest.raises(ValueError, match="x has shape"):
        batches(1.0, 2.0, 1)


def test_one_hot():
    np.testing.assert_array_equal(one_hot([2, 0]), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(one_hot([[1], [0]], 3), [[0, 1, 0], [1, 0, 0]])
    assert one_hot([1]).dtype == np.int64
    assert one_hot([], 3).shape == (0, 3)
    labels = np.array([3, 1, 2, 0, 3])
    np.testing.assert_array_equal(one_hot(labels).argmax(axis=1), labels)
    for y, kind, message in (
        ([-1], ValueError, "label -1"),
        ([3], ValueError, "label 3; expected labels below num_classes=3"),
        ([0.5], TypeError, "dtype float64"),
        (["a"], TypeError, "OneHotEncoder"),
        ([[0, 1]], ValueError, "shape"),
    ):
        with pytest.raises(kind, match=message):
            one_hot(y, 3)


def test_encoder_against_scikit_learn_and_back():
    x = np.array([["red", "s"], ["green", "m"], ["blue", "s"], ["red", "l"]])
    encoder = OneHotEncoder().fit(x)
    coded = encoder.transform(x)
    assert coded.dtype == np.float32
    np.testing.assert_array_equal(coded, Reference(sparse_output=False).fit_transform(x))
    np.testing.assert_array_equal(encoder.inverse_transform(coded), x)
    assert [list(c) for c in encoder.categories_] == [["blue", "green", "red"], ["l", "m", "s"]]


def test_encoder_of_one_column_gives_it_back_flat():
    y = np.array(["cat", "dog", "cat"])
    encoder = OneHotEncoder(dtype="float64")
    coded = encoder.fit_transform(y)
    assert coded.dtype == np.float64
    np.testing.assert_array_equal(coded, [[1, 0], [0, 1], [1, 0]])
    np.testing.assert_array_equal(encoder.inverse_transform(coded), y)
    np.testing.assert_array_equal(encoder.inverse_transform([[0.2, 0.7]]), ["dog"])


def test_encoder_of_a_frame_with_mixed_columns():
    frame = pd.DataFrame({"colour": ["red", "blue"], "doors": [5, 3]})
    encoder = OneHotEncoder().fit(frame)
    back = encoder.inverse_transform(encoder.transform(frame))
    assert back.tolist() == [["red", 5], ["blue", 3]]
    with pytest.raises(ValueError, match="unknown category 4 in column 'doors', row 1"):
        encoder.transform(pd.DataFrame({"colour": ["red", "red"], "doors": [5, 4]}))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: OneHotEncoder("int8"), ValueError, "dtype must be"),
        (lambda: OneHotEncoder().transform(["a"]), RuntimeError, "call fit first"),
        (lambda: OneHotEncoder().fit([]), ValueError, "no rows"),
        (lambda: OneHotEncoder().fit(np.zeros((1, 1, 1))), ValueError, "shape"),
        (
            lambda: OneHotEncoder().fit(np.array(["a", None], object)),
            ValueError,
            "missing value in column 0, row 1",
        ),
        (lambda: OneHotEncoder().fit([1.0, np.nan]), ValueError, "missing value in column 0, row 1"),
        (lambda: OneHotEncoder().fit(np.array(["a", 1], object)), TypeError, "mixes types"),
        (
            lambda: OneHotEncoder().fit(["a"]).transform(["a", "b"]),
            ValueError,
            r"unknown category 'b' .* row 1",
        ),
        (
            lambda: OneHotEncoder().fit(["a"]).transform([["a", "b"]]),
            ValueError,
            "x has 2 columns; expected 1",
        ),
        (lambda: OneHotEncoder().fit(["a"]).inverse_transform([[1, 0]]), ValueError, r"expected \(n, 1\)"),
    ],
)
def test_encoder_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()
