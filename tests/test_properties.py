"""What holds for every shape, every value and every way that memory can hold it.

Errors are judged by the bound that any order of summation keeps: k products and sums in a row lose at most
k + 1 units of the last place of Σ|aᵢbᵢ|.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnrs
import nnrs.functional as F
from nnrs import nn
from nnrs.data import OneHotEncoder, one_hot, train_test_split

SIZES = st.integers(0, 40)
# From 256 on, a layer with few outputs sums in another order.
LONG = st.one_of(SIZES, st.integers(250, 280))
DTYPES = st.sampled_from(["float32", "float64"])
SEEDS = st.integers(0, 2**32 - 1)
ACTIVATIONS = ["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "sigmoid", "tanh"]


def numbers(shape, dtype, seed):
    """Return numbers of very different size, some of them zero."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape) * 2.0 ** rng.integers(-20, 20, shape)
    return np.where(rng.random(shape) < 0.1, 0, values).astype(dtype)


def unaligned(array, offset=1):
    """Return a read-only view of memory that starts between two elements."""
    shifted = b"\0" * offset + array.tobytes()
    return np.frombuffer(shifted, array.dtype, array.size, offset).reshape(array.shape)


def strided(array, *steps):
    """Return a view of every so manyth element of a larger array, negative steps from its end."""
    wide = np.full([n * abs(step) for n, step in zip(array.shape, steps, strict=True)], np.nan, array.dtype)
    view = wide[tuple(slice(None, None, step) for step in steps)]
    view[...] = array
    return view


def packed(array):
    """Return a column of a table whose rows are no whole number of elements apart."""
    table = np.zeros(array.shape, [("tag", "u1"), ("value", array.dtype)])
    table["value"] = array
    return table["value"]


def swapped(array):
    return array.astype(array.dtype.newbyteorder())


LAYOUTS = {
    "c": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "sliced": lambda a: strided(a, *(2, 3)[: a.ndim]),
    "negative": lambda a: strided(a, *(-1, -1)[: a.ndim]),
    "sliced, negative": lambda a: strided(a, *(-3, 2)[: a.ndim]),
    "unaligned": unaligned,
    "unaligned by half": lambda a: unaligned(a, a.itemsize // 2),
    "unaligned, transposed": lambda a: unaligned(np.ascontiguousarray(a.T), 3).T,
    "packed": packed,
    "swapped": swapped,
}
WAYS = st.sampled_from(sorted(LAYOUTS))
TWO_WAYS, THREE_WAYS = st.tuples(WAYS, WAYS), st.tuples(WAYS, WAYS, WAYS)


def close(got, want, size, terms, dtype):
    """Check an error against its bound, `size` being Σ|aᵢbᵢ|."""
    assert got.shape == want.shape
    assert got.dtype == dtype
    assert (np.abs(got - want) <= (terms + 1) * np.finfo(dtype).eps * size).all()


@settings(max_examples=150)
@given(SIZES, LONG, SIZES, DTYPES, SEEDS, st.booleans(), THREE_WAYS)
def test_linear(batch, inputs, outputs, dtype, seed, biased, ways):
    x, weight = numbers((batch, inputs), dtype, seed), numbers((outputs, inputs), dtype, seed + 1)
    bias = numbers(outputs, dtype, seed + 2) if biased else None
    got = F.linear(x, weight, bias)
    wide = [np.zeros(outputs) if a is None else a.astype(np.float64) for a in (x, weight, bias)]
    size = np.abs(wide[0]) @ np.abs(wide[1]).T + np.abs(wide[2])
    close(got, wide[0] @ wide[1].T + wide[2], size, inputs + 1, dtype)
    laid = [None if a is None else LAYOUTS[way](a) for a, way in zip((x, weight, bias), ways, strict=True)]
    again = F.linear(*laid)
    assert again.tobytes() == got.tobytes()
    out = np.full_like(got, np.nan)
    assert F.linear(*laid, out=out) is out
    assert out.tobytes() == got.tobytes()
    if batch:
        row = seed % batch
        assert F.linear(x[row], weight, bias).tobytes() == got[row].tobytes()


@settings(max_examples=150)
@given(SIZES, SIZES, SIZES, DTYPES, SEEDS, THREE_WAYS)
def test_linear_backward(batch, inputs, outputs, dtype, seed, ways):
    arrays = [
        numbers(shape, dtype, seed + n)
        for n, shape in enumerate([(batch, outputs), (batch, inputs), (outputs, inputs)])
    ]
    dx, dweight, dbias = F.linear_backward(*arrays)
    dout, x, weight = (a.astype(np.float64) for a in arrays)
    close(dx, dout @ weight, np.abs(dout) @ np.abs(weight), outputs, dtype)
    close(dweight, dout.T @ x, np.abs(dout).T @ np.abs(x), batch, dtype)
    close(dbias, dout.sum(0), np.abs(dout).sum(0), batch, dtype)
    laid = [LAYOUTS[way](a) for a, way in zip(arrays, ways, strict=True)]
    for got, want in zip(F.linear_backward(*laid), (dx, dweight, dbias), strict=True):
        assert got.tobytes() == want.tobytes()
    skipped = F.linear_backward(*laid, need_dx=False)
    assert skipped[0] is None
    assert skipped[1].tobytes() == dweight.tobytes()


@settings(max_examples=100)
@given(st.integers(0, 20), st.integers(1, 40), DTYPES, SEEDS, st.integers(-1000, 1000), WAYS)
def test_softmax(rows, columns, dtype, seed, shift, way):
    # Multiples of 1/8, so that adding the shift rounds nothing.
    x = (np.random.default_rng(seed).integers(-800, 800, (rows, columns)) / 8).astype(dtype)
    p, logarithms = F.softmax(x), F.log_softmax(x)
    eps = np.finfo(dtype).eps
    assert (p >= 0).all()
    assert (logarithms <= 0).all()
    np.testing.assert_allclose(p.sum(1, dtype=np.float64), 1, atol=4 * eps)
    np.testing.assert_allclose(np.exp(logarithms.astype(np.float64)).sum(1), 1, atol=200 * eps)
    for function, want in ((F.softmax, p), (F.log_softmax, logarithms)):
        assert function(x + np.asarray(shift, dtype)).tobytes() == want.tobytes()
        assert function(LAYOUTS[way](x)).tobytes() == want.tobytes()
        out = np.full_like(want, np.nan)
        assert function(x, out=out) is out
        assert out.tobytes() == want.tobytes()
        if rows:
            assert function(x[seed % rows]).tobytes() == want[seed % rows].tobytes()
    assert (p.argmax(1) == x.argmax(1)).all()


@settings(max_examples=100)
@given(st.sampled_from(ACTIVATIONS), st.integers(0, 9), SIZES, DTYPES, SEEDS, TWO_WAYS)
def test_activations(name, rows, columns, dtype, seed, ways):
    x, dout = (numbers((rows, columns), dtype, seed + n) for n in range(2))
    function, backward = getattr(F, name), getattr(F, name + "_backward")
    want, slope = function(x), backward(dout, x)
    laid, laid_dout = (LAYOUTS[way](a) for a, way in zip((x, dout), ways, strict=True))
    out = np.full_like(x, np.nan)
    for got in (function(laid), function(laid, out=out), out, function(x.ravel()).reshape(x.shape)):
        assert got.dtype == dtype
        assert got.tobytes() == want.tobytes()
    for got in (backward(laid_dout, laid), backward(laid_dout, laid, out=out), out):
        assert got.dtype == dtype
        assert got.tobytes() == slope.tobytes()


@settings(max_examples=100)
@given(st.lists(st.integers(0, 30), max_size=60), st.integers(0, 5))
def test_one_hot_and_back(labels, more):
    classes = max(labels, default=0) + 1 + more
    rows = one_hot(labels, classes)
    assert rows.shape == (len(labels), classes)
    assert (rows.sum(1) == 1).all()
    assert rows.argmax(1).tolist() == labels
    if labels:
        assert one_hot(labels).shape == (len(labels), max(labels) + 1)


# No NUL at the end of a text: NumPy's strings lose it.
CELLS = st.one_of(
    st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 10**12)), min_size=1, max_size=30),
    st.lists(st.tuples(st.text('aß猫 ,"\n', max_size=4), st.text(max_size=3).map("x{}x".format)), min_size=1),
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=30),
)


@settings(max_examples=100)
@given(CELLS, DTYPES)
def test_encoded_categories_come_back(cells, dtype):
    x = np.array(cells)
    encoder = OneHotEncoder(dtype)
    coded = encoder.fit_transform(x)
    assert coded.dtype == dtype
    assert coded.shape == (len(x), sum(map(len, encoder.categories_)))
    assert (coded.sum(1) == x.shape[1]).all()
    back = encoder.inverse_transform(coded)
    np.testing.assert_array_equal(back, x)
    np.testing.assert_array_equal(encoder.transform(back), coded)
    for column in x.T:
        np.testing.assert_array_equal(
            encoder.fit(column).inverse_transform(encoder.transform(column)), column
        )


@settings(max_examples=100)
@given(st.integers(2, 80), st.data(), SEEDS)
def test_a_split_is_a_partition(rows, data, seed):
    size = data.draw(st.one_of(st.integers(1, rows - 1), st.floats(0.01, 1 - 1.001 / rows)))
    x, y = np.arange(3 * rows).reshape(rows, 3), np.arange(rows)
    xt, xv, yt, yv = train_test_split(x, y, test_size=size, seed=seed)
    assert len(yv) == (size if isinstance(size, int) else int(np.ceil(size * rows)))
    assert sorted([*yt, *yv]) == list(range(rows))
    np.testing.assert_array_equal(xt, x[yt])
    np.testing.assert_array_equal(xv, x[yv])
    np.testing.assert_array_equal(train_test_split(y, test_size=size, seed=seed)[1], yv)


@st.composite
def models(draw):
    """Draw small models of every kind of layer, with scalers that have learned."""
    dtype, seed = draw(DTYPES), draw(SEEDS)
    sizes = draw(st.lists(st.sampled_from([1, 2, 3, 5, 16, 17, 33, 260]), min_size=2, max_size=4))
    kinds = [nn.ReLU, nn.Tanh, nn.GELU, nn.Softmax, lambda: nn.ELU(0.3), lambda: nn.Dropout(0.4), nn.Identity]
    layers = [draw(st.sampled_from([nn.Standardize, nn.MinMaxScale]))()] if draw(st.booleans()) else []
    for inputs, outputs in itertools.pairwise(sizes):
        layers.append(nn.Linear(inputs, outputs, draw(st.booleans()), dtype=dtype))
        layers.append(draw(st.sampled_from(kinds))())
    if draw(st.booleans()):
        layers = [*layers[:-2], nn.Sequential(*layers[-2:])]
    model = nn.Sequential(*layers, seed=seed)
    rng = np.random.default_rng(seed)
    x = rng.normal(3, 2, (draw(st.sampled_from([1, 2, 15, 16, 17, 50])), sizes[0])).astype(dtype)
    model.fit_scalers(rng.normal(3, 2, (20, sizes[0])))
    return model.eval(), x


@settings(max_examples=60)
@given(models(), WAYS)
def test_every_row_alone_has_the_bits_of_the_batch(drawn, way):
    model, x = drawn
    predictor = model.freeze()
    whole = predictor(x)
    assert model(x).tobytes() == whole.tobytes()
    assert predictor(LAYOUTS[way](x)).tobytes() == model(LAYOUTS[way](x)).tobytes() == whole.tobytes()
    out = np.full_like(whole, np.nan)
    assert predictor(x, out=out) is out
    assert out.tobytes() == whole.tobytes()
    for one in (predictor, model):
        assert b"".join(one(row).tobytes() for row in x) == whole.tobytes()
        assert b"".join(one(x[n : n + 1]).tobytes() for n in range(len(x))) == whole.tobytes()
        assert one(x[: len(x) // 2]).tobytes() == whole[: len(x) // 2].tobytes()


@settings(max_examples=40)
@given(models())
def test_saved_models_come_back_with_their_bits(drawn):
    model, x = drawn
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        model.save(path)
        again = nnrs.load(path)
        first = path.read_bytes()
        again.save(path)
        assert path.read_bytes() == first
    assert again(x).tobytes() == model(x).tobytes()
    assert again.freeze()(x).tobytes() == model(x).tobytes()
    state, other = model.state_dict(), again.state_dict()
    assert list(state) == list(other)
    for name, array in state.items():
        assert array.dtype == other[name].dtype
        assert array.tobytes() == other[name].tobytes()


@pytest.mark.parametrize("way", sorted(LAYOUTS))
@pytest.mark.parametrize("shape", [(7,), (5, 4), (0, 3), (3, 0)])
def test_a_layout_holds_the_values_it_is_given(way, shape):
    array = numbers(shape, "float32", 0)
    laid = LAYOUTS[way](array)
    np.testing.assert_array_equal(laid, array)
    assert laid.shape == array.shape
    if way.startswith("unaligned") and array.size:
        assert not laid.flags.aligned
