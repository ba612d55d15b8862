import gzip
from importlib import resources

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_moons

import nnrs
from nnrs import datasets
from nnrs.datasets.idx import read_idx


def test_digits_are_scikit_learns():
    x, y = datasets.digits()
    reference = load_digits()
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    np.testing.assert_array_equal(x * 16, reference.data)
    np.testing.assert_array_equal(y, reference.target)
    assert x.min() == 0
    assert x.max() == 1


def test_digits_file_is_small_and_attributed():
    folder = resources.files("nnrs.datasets")
    assert len(folder.joinpath("digits.npz").read_bytes()) <= 60_000
    text = folder.joinpath("ATTRIBUTION").read_text(encoding="utf-8")
    assert "Alpaydin" in text
    assert "CC BY 4.0" in text


def idx(array):
    array = np.asarray(array, np.uint8)
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.tobytes()


def write_mnist(folder, zipped=True, train=(12, 28, 28), labels=12, top=9):
    pixels = (np.arange(np.prod(train)) % 256).reshape(train)
    parts = {
        "train-images-idx3-ubyte": pixels,
        "train-labels-idx1-ubyte": np.arange(labels) % (top + 1),
        "t10k-images-idx3-ubyte": pixels[:2],
        "t10k-labels-idx1-ubyte": [3, 4],
    }
    for name, array in parts.items():
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return pixels


@pytest.mark.parametrize("zipped", [True, False])
def test_mnist_folder(tmp_path, zipped):
    pixels = write_mnist(tmp_path, zipped)
    x, y, xt, yt = datasets.mnist(tmp_path)
    assert x.shape == (12, 784)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, pixels.reshape(12, 784).astype(np.float32) / np.float32(255))
    assert x.max() == 1
    np.testing.assert_array_equal(y, np.arange(12) % 10)
    assert y.dtype == np.int64
    assert xt.shape == (2, 784)
    assert yt.tolist() == [3, 4]


def test_mnist_says_what_it_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte, train-images-idx3-ubyte\.gz"):
        datasets.mnist(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": (12, 27, 28)}, r"\(27, 28\) pixels; expected \(28, 28\)"),
        ({"labels": 11}, "11 labels; expected 12"),
        ({"labels": 12, "top": 11}, "label 11; expected 0 to 9"),
    ],
)
def test_mnist_of_another_form(tmp_path, arguments, message):
    write_mnist(tmp_path, **arguments)
    with pytest.raises(nnrs.FileFormatError, match=message):
        datasets.mnist(tmp_path)


GOOD = idx(np.arange(6).reshape(2, 3))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with the bytes nothing"),
        (b"\x89PNG" + GOOD, "expected 00 00 08 02"),
        (bytes([0, 0, 9, 2]) + GOOD[4:], "begins with"),
        (bytes([0, 0, 8, 3]) + GOOD[4:], "begins with"),
        (GOOD[:9], "ends inside its header"),
        (GOOD[:-1], "claims 6 values and ends after 5|claims 6 values, more"),
        (GOOD + b"x", "goes on after the 6 values"),
        (GOOD[:4] + b"\xff" * 8 + GOOD[12:], "more than a file of its size can hold"),
    ],
)
def test_damaged_idx(tmp_path, content, message, zipped):
    path = tmp_path / ("data.gz" if zipped else "data")
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(nnrs.FileFormatError, match=message):
        read_idx(path, axes=2)


def test_damaged_gzip(tmp_path):
    whole = gzip.compress(GOOD)
    path = tmp_path / "data.gz"
    for content in (b"no gzip at all", whole[:-9], whole[:-8] + b"\0" * 8):
        path.write_bytes(content)
        with pytest.raises(nnrs.FileFormatError, match="is damaged"):
            read_idx(path, axes=2)


def test_every_bit_flip_of_an_idx_header_is_refused_or_harmless(tmp_path):
    path = tmp_path / "data"
    for bit in range(12 * 8):
        content = bytearray(GOOD)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(nnrs.FileFormatError):
            read_idx(path, axes=2)


def test_xor():
    x, y = datasets.xor()
    assert x.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert y.tolist() == [0, 1, 1, 0]
    x, y = datasets.xor(4000, noise=0.1, seed=1)
    spread = (x - np.tile(datasets.xor()[0], (1000, 1))).std()
    assert spread == pytest.approx(0.1, rel=0.05)


def test_moons_lie_on_scikit_learns_curves():
    for n in (2, 7, 100):
        x, y = datasets.moons(n, noise=0.0)
        reference, labels = make_moons(((n + 1) // 2, n // 2), shuffle=False, noise=None)
        for label in (0, 1):
            np.testing.assert_allclose(x[y == label], reference[labels == label], atol=1e-6)


def test_spirals():
    x, y = datasets.spirals(300, noise=0.0, classes=3)
    assert np.bincount(y).tolist() == [100, 100, 100]
    radius = np.hypot(*x.T)
    assert radius.max() == pytest.approx(1, abs=1e-6)
    assert np.all(np.diff(radius[y == 1]) > 0)
    # Turned by a third of a circle, one arm is the next.
    turn = np.exp(2j * np.pi / 3)
    points = x[:, 0] + 1j * x[:, 1]
    np.testing.assert_allclose(points[y == 0] * turn, points[y == 1], atol=1e-6)


def test_sine():
    x, y = datasets.sine(50)
    assert x.shape == (50, 1)
    assert y.shape == (50,)
    np.testing.assert_allclose(y, np.sin(x[:, 0]), atol=1e-6)
    assert np.abs(datasets.sine(5000, noise=0.2)[1] - datasets.sine(5000)[1]).mean() == pytest.approx(
        0.2 * np.sqrt(2 / np.pi), rel=0.05
    )


@pytest.mark.parametrize("make", [datasets.xor, datasets.moons, datasets.spirals, datasets.sine])
def test_shapes_are_seeded_and_checked(make):
    one, same, other = (make(50, 0.3, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one[0], same[0])
    np.testing.assert_array_equal(one[1], same[1])
    assert not (np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1]))
    assert {a.dtype for a in one} <= {np.dtype("float32"), np.dtype("int64")}
    with pytest.raises(ValueError, match="n must be at least"):
        make(0)
    with pytest.raises(TypeError, match="n must be an int"):
        make(2.5)
    with pytest.raises(ValueError, match="noise must be"):
        make(10, noise=-1.0)
    with pytest.raises(ValueError, match="noise must be"):
        make(10, noise=float("nan"))


def test_spirals_need_two_classes():
    with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
        datasets.spirals(10, classes=1)
