"""Awkward input, awkward surroundings: what must work gives the right bits, what must not is refused."""

from __future__ import annotations

import copy
import ctypes
import functools
import mmap
import os
import pickle
import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest

import nnrs
import nnrs.functional as F
from nnrs import _core, nn, optim

RNG = np.random.default_rng(5)


def large(dtype="float32", seed=0):
    """Return a network whose calls on 400 rows are shared out among threads."""
    return nn.Sequential(
        nn.Linear(200, 160), nn.ReLU(), nn.Dropout(0.1), nn.Linear(160, 10), seed=seed, dtype=dtype
    )


def rows(count=400, dtype="float32", features=200):
    return np.random.default_rng(1).normal(size=(count, features)).astype(dtype)


def labels(count=400, classes=10):
    return np.random.default_rng(2).integers(0, classes, count)


def trainer_of(model, loss=None, **options):
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    return nnrs.Trainer(model, loss or nn.CrossEntropyLoss(), optimizer, seed=3, **options)


def bits(*arrays):
    return b"".join(np.asarray(array).tobytes() for array in arrays)


@pytest.fixture(autouse=True)
def _threads():
    count = nnrs.get_num_threads()
    yield
    nnrs.set_num_threads(count)


# --- NaN and infinity


def sprinkled(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape)
    chance = rng.random(shape)
    for limit, special in ((0.01, np.nan), (0.02, np.inf), (0.03, -np.inf), (0.06, 0.0)):
        values[(limit - 0.01 <= chance) & (chance < limit)] = special
    return values.astype(dtype)


def same_kind(got, want):
    """Check that NaN and either infinity are where they should be, and numbers between."""
    for kind in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(kind(got), kind(want))
    finite = np.isfinite(want)
    np.testing.assert_allclose(got[finite], want[finite], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("batch", "inputs", "outputs"), [(1, 40, 20), (37, 33, 19), (300, 20, 10), (20, 300, 3)]
)
def test_nan_and_infinity_go_through_linear(batch, inputs, outputs, dtype):
    x, weight = sprinkled((batch, inputs), dtype, 0), sprinkled((outputs, inputs), dtype, 1)
    bias, dout = sprinkled(outputs, dtype, 2), sprinkled((batch, outputs), dtype, 3)
    x[::3] = RNG.normal(size=x[::3].shape)
    weight[::2] = RNG.normal(size=weight[::2].shape)
    dout[:, ::2] = RNG.normal(size=dout[:, ::2].shape)
    wide = [a.astype(np.float64) for a in (x, weight, bias, dout)]
    with np.errstate(all="ignore"):
        want = (wide[0][:, None, :] * wide[1]).sum(2) + wide[2]
        want_dx = (wide[3][:, :, None] * wide[1]).sum(1)
        want_dweight = (wide[3][:, :, None] * wide[0][:, None, :]).sum(0)
        want_dbias = wide[3].sum(0)
    assert np.isnan(want).any()
    assert np.isfinite(want).any()
    same_kind(F.linear(x, weight, bias), want)
    dx, dweight, dbias = F.linear_backward(dout, x, weight)
    same_kind(dx, want_dx)
    same_kind(dweight, want_dweight)
    same_kind(dbias, want_dbias)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [nn.ReLU, nn.Tanh, nn.GELU, nn.Softmax, nn.Identity])
def test_a_row_that_is_not_finite_spoils_no_other(kind, dtype, bad):
    model = nn.Sequential(nn.Linear(20, 33), kind(), nn.Linear(33, 5), seed=0, dtype=dtype)
    x = rows(50, dtype, 20)
    clean = model(x)
    dx = model.backward(np.ones_like(clean))
    spoilt = x.copy()
    spoilt[[0, 17, 49], 3] = bad
    rest = np.setdiff1d(np.arange(50), [0, 17, 49])
    for call in (model, copy.deepcopy(model).eval(), model.freeze()):
        out = call(spoilt)
        np.testing.assert_array_equal(out[rest], clean[rest])
        if np.isnan(bad):
            assert np.isnan(out[[0, 17, 49]]).all()
    model(spoilt)
    np.testing.assert_array_equal(model.backward(np.ones_like(clean))[rest], dx[rest])
    assert not np.isfinite(model[0].weight.grad[:, 3]).all()
    model(x)
    dout = np.ones_like(clean)
    dout[17, 2] = bad
    np.testing.assert_array_equal(model.backward(dout)[np.arange(50) != 17], dx[np.arange(50) != 17])


LOSSES = [
    (F.mse_loss, "values"),
    (F.l1_loss, "values"),
    (F.huber_loss, "values"),
    (F.binary_cross_entropy_with_logits, "bits"),
    (F.cross_entropy, "classes"),
    (F.nll_loss, "classes"),
    (F.hinge_loss, "classes"),
]


@pytest.mark.parametrize(("loss", "kind"), LOSSES)
def test_a_loss_of_nan_is_nan(loss, kind):
    backward = getattr(F, loss.__name__ + "_backward")
    pred = rows(20, features=4)
    target = {"values": rows(20, features=4) + 1, "bits": 1.0 * (pred > 0), "classes": labels(20, 4)}[kind]
    target = target.astype("float32") if kind != "classes" else target
    each, gradient = loss(pred, target, reduction="none"), backward(pred, target)
    pred[6, :] = np.nan
    assert np.isnan(loss(pred, target))
    rest = np.arange(20) != 6
    assert np.isnan(loss(pred, target, reduction="none")[6])
    np.testing.assert_array_equal(loss(pred, target, reduction="none")[rest], each[rest])
    np.testing.assert_array_equal(backward(pred, target)[rest], gradient[rest])
    assert np.isfinite(loss(pred, target, sample_weight=1.0 * rest))


# --- memory


def reversed_view(array):
    return array[::-1].copy()[::-1]


def unaligned(array):
    return np.frombuffer(b"\0" + array.tobytes(), array.dtype, array.size, 1).reshape(array.shape)


def every_other(array):
    return np.repeat(array, 2, axis=0)[::2]


@pytest.mark.parametrize(
    "way",
    [reversed_view, unaligned, every_other, np.asfortranarray, lambda a: a.astype(a.dtype.newbyteorder())],
)
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss, nn.MSELoss])
def test_training_does_not_mind_how_memory_lies(loss, way):
    x, weights = rows(70, features=6), np.linspace(0, 1, 70)
    y = labels(70, 3) if loss is nn.CrossEntropyLoss else rows(70, features=3)
    results = []
    for place in (lambda array: array, way):
        model = nn.MLP([6, 9, 3], seed=0)
        trainer = trainer_of(model, loss())
        losses = [trainer.step(place(x), place(y), place(weights)) for _ in range(3)]
        trainer.fit(place(x), place(y), epochs=2, batch_size=16, sample_weight=place(weights))
        results.append((losses, bits(model.flat_parameters())))
    assert results[0] == results[1]


def test_labels_of_every_integer_type_are_the_same():
    x, y = rows(30, features=6), labels(30, 3)
    wanted = F.cross_entropy(x[:, :3], y)
    for kind in (
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "uint64",
        "float32",
        ">i4",
    ):
        assert F.cross_entropy(x[:, :3], y.astype(kind)) == wanted
    assert F.cross_entropy(x[:, :3], y.tolist()) == wanted


def test_a_model_may_be_trained_on_its_own_weights():
    results = []
    for count, own in ((1, False), (1, True), (2, True)):
        nnrs.set_num_threads(count)
        model = nn.MLP([200, 200, 2], seed=0)
        trainer = trainer_of(model)
        for _ in range(3):
            x = model[0].weight.data
            trainer.step(x if own else x.copy(), labels(200, 2))
        results.append(bits(model.flat_parameters()))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 300])
def test_what_is_written_into_data_is_what_the_next_call_reads(count, dtype):
    model, x = large(dtype).eval(), rows(count, dtype)
    model(x)
    for seed in (1, 2):
        other = large(dtype, seed).eval()
        for parameter, values in zip(model.parameters(), other.parameters(), strict=True):
            parameter.data[...] = values.data
        assert bits(model(x)) == bits(other(x)) == bits(model.freeze()(x))
    model.flat_parameters()[:] = large(dtype).flat_parameters()
    assert bits(model(x)) == bits(large(dtype).eval()(x))


@pytest.mark.parametrize("sizes", [[4, 0, 3], [0, 5, 3], [4, 5, 0, 2]])
def test_layers_of_size_zero_train(sizes):
    model = nn.MLP(sizes, seed=0, dtype="float64")
    trainer = trainer_of(model, nn.MSELoss())
    x, y = rows(8, "float64", sizes[0]), rows(8, "float64", sizes[-1])
    losses = [trainer.step(x, y) for _ in range(300)]
    # Without a path from the input, the best that is left is the mean of the targets.
    assert losses[-1] == pytest.approx(((y - y.mean(0)) ** 2).mean(), rel=0.05)
    assert losses[-1] < losses[0]
    assert model.eval()(x).shape == model.freeze()(x).shape == y.shape


# --- copies


def test_copies_of_a_trained_model_go_on_with_its_bits():
    x, y = rows(60, features=200), labels(60)
    model = nn.Sequential(nn.Standardize(), *large(), seed=0)
    trainer_of(model).fit(x, y, epochs=2)
    model.eval()
    out = model(x)
    twins = [
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        pickle.loads(pickle.dumps(copy.deepcopy(model))),
    ]
    after = []
    for each in (*twins, model):
        assert bits(each(x), each.predict(x)) == bits(out, model.predict(x))
        assert not each.training
        trainer_of(each).fit(x, y, epochs=1)
        after.append(bits(each.flat_parameters(), each(x)))
    assert len(set(after)) == 1
    assert after[0] != bits(model.flat_parameters(), out)


def test_copies_of_a_predictor_have_its_bits():
    x = rows()
    for dtype in ("float32", "float64"):
        predictor = large(dtype).freeze()
        for twin in (copy.copy(predictor), copy.deepcopy(predictor), pickle.loads(pickle.dumps(predictor))):
            assert bits(twin(x), twin(x[0])) == bits(predictor(x), predictor(x[0]))
            assert twin.dtype == dtype


# --- threads


@pytest.mark.parametrize("kind", ["model", "predictor", "function"])
def test_eight_threads_get_what_one_gets(kind):
    model = large().eval()
    weight, bias = model[0].weight.data.copy(), model[0].bias.data.copy()
    call = {"model": model, "predictor": model.freeze(), "function": lambda x: F.linear(x, weight, bias)}[
        kind
    ]
    batches = [rows(n) for n in (1, 7, 100, 400)]
    nnrs.set_num_threads(1)
    wanted = [bits(call(x)) for x in batches]
    nnrs.set_num_threads(2)
    other = trainer_of(large(seed=1))
    start, wrong = threading.Barrier(9), []

    def predict():
        start.wait()
        for _ in range(10):
            wrong.extend(len(x) for x, want in zip(batches, wanted, strict=True) if bits(call(x)) != want)

    def train():
        start.wait()
        other.fit(rows(), labels(), epochs=5, batch_size=200)

    threads = [*(threading.Thread(target=predict) for _ in range(8)), threading.Thread(target=train)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    alone = trainer_of(large(seed=1))
    alone.fit(rows(), labels(), epochs=5, batch_size=200)
    assert bits(alone.model.flat_parameters()) == bits(other.model.flat_parameters())


BITS = """
import hashlib
import numpy as np
import nnrs
import nnrs.functional as F
from nnrs import _core, nn, optim

def used(call):
    _core.reset_parallel_threads_used()
    result = call()
    most.append(_core.parallel_threads_used())
    return result

for threads in (1, 2, 3):
    nnrs.set_num_threads(threads)
    found, most = hashlib.sha256(), []
    for dtype in ("float32", "float64"):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(64, 96)).astype(dtype), rng.integers(0, 10, 64)
        model = nn.Sequential(
            nn.Linear(96, 64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, 10), seed=0, dtype=dtype
        )
        model.backward(nn.CrossEntropyLoss().value_and_grad(model(x), y)[1])
        found.update(model.flat_gradients().tobytes())
        trainer = nnrs.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()), seed=1)
        trainer.fit(x, y, epochs=50, batch_size=64)
        # Large enough to wake threads that sleep.
        many = rng.normal(size=(2100, 96)).astype(dtype)
        used(lambda: trainer.step(many[:700], rng.integers(0, 10, 700)))
        found.update(model.flat_parameters().tobytes())
        for call in (model.eval(), model.freeze()):
            found.update(used(lambda: call(many)).tobytes())
        weight = rng.normal(size=(64, 96)).astype(dtype)
        found.update(used(lambda: F.linear(many, weight)).tobytes())
        gradients = used(lambda: F.linear_backward(F.linear(many, weight), many, weight))
        found.update(b"".join(gradient.tobytes() for gradient in gradients))
    print(set(most), found.hexdigest())
"""


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
    )


@functools.cache
def bits_by_threads(isa):
    done = run(BITS, NNRS_ISA=isa)
    assert done.returncode == 0, done.stderr
    lines = [line.rsplit(maxsplit=1) for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["{1}", "{2}", "{3}"]
    return [line[1] for line in lines]


@pytest.mark.parametrize("isa", ["portable", "avx2", "avx512", "neon"])
def test_instruction_sets_and_threads_give_the_same_bits(isa):
    if isa not in _core.available_isas():
        pytest.skip(f"needs isa {isa}")
    assert len(set(bits_by_threads(isa))) == 1
    assert bits_by_threads(isa) == bits_by_threads("")


# --- the processor's floating-point settings

DEFAULT, FLUSH, UP, CHOP = 0x1F80, 0x9FC0, 0x5F80, 0x7F80


@contextmanager
def control_word(word):
    """Set the calling thread's MXCSR by machine code; what it is afterwards must be the same."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs system linux")
    if "avx2" not in _core.available_isas():
        pytest.skip("needs isa avx2")
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("0fae17c3" + "0fae1fc3"))  # ldmxcsr [rdi]; ret; stmxcsr [rdi]; ret
    start = ctypes.addressof(ctypes.c_char.from_buffer(page))
    kind = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_uint32))
    load, store = kind(start), kind(start + 4)
    load(ctypes.c_uint32(word))
    try:
        yield
        found = ctypes.c_uint32()
        store(found)
        assert found.value & ~0x3F == word
    finally:
        load(ctypes.c_uint32(DEFAULT))


def awkward(dtype):
    """Return numbers whose products are subnormal, numbers that are subnormal, and usual ones."""
    small = {"float32": 1e-21, "float64": 1e-156}[dtype]
    values = np.random.default_rng(0).normal(size=(400, 200))
    return (small * values).astype(dtype), (small * small * values).astype(dtype), rows(400, dtype)


def network(first, last, *between):
    """Return a network of 200, 160 and 10, with given weights: those drawn hang on NumPy too."""
    model = nn.Sequential(nn.Linear(200, 160), *between, nn.Linear(160, 10), seed=0, dtype=str(last.dtype))
    for layer, values in ((model[0], first[:160]), (model[-1], last[:10, :160])):
        layer.weight.data[...], layer.bias.data[...] = values, values[:, 0]
    return model


def products(x, tiny, wide):
    model = network(x, wide, nn.ReLU())
    parts = F.linear(x, x[200:]), *F.linear_backward(x, x, x[200:]), F.linear_backward(wide, x, x[200:])[1]
    return [*parts, model(wide), model.backward(x[:, :10]), model.flat_gradients(), model.freeze()(tiny)]


def functions(x, tiny, wide):
    found = [F.softmax(tiny), F.softmax(wide), F.log_softmax(wide), F.softmax_backward(tiny, wide)]
    for name in ("relu", "leaky_relu", "gelu", "elu", "silu", "mish", "tanh", "sigmoid", "softplus"):
        function, backward = getattr(F, name), getattr(F, name + "_backward")
        found += [function(tiny), function(wide), backward(tiny, wide), backward(x, x)]
    return found


def losses(x, tiny, wide):
    found = [F.mse_loss(x, -x, reduction="none"), F.mse_loss_backward(tiny, -tiny), F.l1_loss(tiny, x)]
    found += [F.cross_entropy(wide, labels()), F.cross_entropy_backward(wide, labels())]
    found += [F.huber_loss_backward(wide, x), F.binary_cross_entropy_with_logits(wide, wide > 0)]
    return [*found, *nn.CrossEntropyLoss().value_and_grad(wide, labels())]


def draws(x, *_):
    dtype = str(x.dtype)
    arguments = (0, "init", 0, 0, (500,), -0.3, 0.7, dtype)
    found = [_core.random_uniform(*arguments), _core.random_normal(*arguments)]
    return [*found, _core.random_orthogonal(0, 0, (30, 20), dtype)]


def updates(x, tiny, wide):
    found = []
    for kind, settings in (
        (optim.SGD, {"momentum": 0.9}),
        (optim.Adam, {}),
        (optim.AdamW, {"amsgrad": True}),
    ):
        for gradient in (x, tiny, wide):
            parameter = nn.Parameter(tiny)
            optimizer = kind([parameter], lr=1e-3, **settings)
            for _ in range(3):
                parameter.grad = gradient
                optimizer.step()
            found.append(parameter.data)
    return found


def training(x, tiny, wide):
    model = network(tiny, wide, nn.Tanh(), nn.Dropout(0.3))
    trainer = trainer_of(model, clip_grad_norm=0.5)
    trainer.fit(x, labels(), epochs=2, batch_size=150)
    trainer.fit(wide, labels(), epochs=2, batch_size=200)
    # Not the history: its means are Python's own divisions, which follow the caller's settings.
    return [model.flat_parameters()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("word", [FLUSH, UP, CHOP])
@pytest.mark.parametrize("compute", [products, functions, losses, draws, updates, training])
def test_the_processors_settings_do_not_matter(compute, word, dtype):
    """Subnormals are kept where others flush them, and rounding is to the nearest; by pool threads too."""
    nnrs.set_num_threads(2)
    numbers = awkward(dtype)
    wanted = [np.array(part) for part in compute(*numbers)]
    if compute in (products, functions, updates):
        assert any(np.any((part != 0) & (np.abs(part) < np.finfo(dtype).tiny)) for part in wanted)
    probe = np.array([1, 2, 5, np.finfo(dtype).tiny], dtype)
    thirds = bits(probe / 3)
    with control_word(word):
        assert bits(probe / 3) != thirds
        found = compute(*numbers)
    for got, want in zip(found, wanted, strict=True):
        assert bits(got) == bits(want)
