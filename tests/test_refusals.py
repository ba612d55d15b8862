"""What is refused: with which exception, in which words, and with nothing written."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

import nnrs
import nnrs.functional as F
from nnrs import _core, nn, optim

X = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")


def trainer_of(model, loss=None, **options):
    return nnrs.Trainer(
        model, loss or nn.CrossEntropyLoss(), optim.Adam(model.parameters()), seed=3, **options
    )


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )


# --- out: every function that fills one, with the shapes of its inputs

PREDICTOR = nn.MLP([4, 9, 4], seed=0).freeze()
FILLING = {
    "linear": (F.linear, {"x": (4, 4), "weight": (4, 4), "bias": (4,)}),
    "softmax": (F.softmax, {"x": (4, 4)}),
    "log_softmax": (F.log_softmax, {"x": (4, 4)}),
    "softmax_backward": (F.softmax_backward, {"dout": (4, 4), "x": (4, 4)}),
    "log_softmax_backward": (F.log_softmax_backward, {"dout": (4, 4), "x": (4, 4)}),
    "softmax along rows": (lambda x, out: F.softmax(x, 0, out), {"x": (4, 4)}),
    "step": (F.step, {"x": (4, 4)}),
    "predictor": (PREDICTOR, {"x": (4, 4)}),
}
for _name in ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "sigmoid", "tanh"):
    FILLING[_name] = (getattr(F, _name), {"x": (4, 4)})
    FILLING[_name + "_backward"] = (getattr(F, _name + "_backward"), {"dout": (4, 4), "x": (4, 4)})


def locked():
    out = np.full((4, 4), 7, "float32")
    out.setflags(write=False)
    return out


FAULTS = {
    "shape": (
        lambda: np.full((4, 3), 7, "float32"),
        ValueError,
        r"out has shape \(4, 3\); expected \(4, 4\)",
    ),
    "axes": (
        lambda: np.full((1, 4, 4), 7, "float32"),
        ValueError,
        r"out has shape \(1, 4, 4\); expected \(4, 4\)",
    ),
    "dtype": (lambda: np.full((4, 4), 7.0), TypeError, "out has dtype float64; expected float32"),
    "order": (lambda: np.full((4, 4), 7, ">f4"), TypeError, "out has dtype >f4; expected float32"),
    "integers": (lambda: np.full((4, 4), 7), TypeError, "out has dtype int64; expected float32"),
    "objects": (lambda: np.full((4, 4), 7, object), TypeError, "out has dtype object; expected float32"),
    "read-only": (locked, ValueError, "out is read-only; expected a writeable array"),
    "columns": (lambda: np.full((4, 4), 7, "float32", order="F"), ValueError, "out is not C-contiguous"),
    "strides": (lambda: np.full((4, 8), 7, "float32")[:, ::2], ValueError, "out is not C-contiguous"),
    "list": (lambda: [[7] * 4] * 4, TypeError, "out is a list; expected a NumPy array of float32"),
}


# A softmax along another axis is copied into out, however that lies.
ANYWHERE = {("softmax along rows", "columns"), ("softmax along rows", "strides")}


@pytest.mark.parametrize(("name", "fault"), sorted({*itertools.product(FILLING, FAULTS)} - ANYWHERE))
def test_an_out_that_cannot_take_the_result(name, fault):
    function, shapes = FILLING[name]
    make, error, message = FAULTS[fault]
    out = make()
    with pytest.raises(error, match=message):
        function(*(X.ravel()[: np.prod(shape)].reshape(shape) for shape in shapes.values()), out=out)
    assert np.all(np.asarray(out) == 7)


@pytest.mark.parametrize("name", FILLING)
def test_an_out_that_overlaps_an_input(name):
    function, shapes = FILLING[name]
    whole = {kind: X.ravel()[: np.prod(shape)].reshape(shape) for kind, shape in shapes.items()}
    wanted = function(*whole.values(), out=None)
    for kind, shape in shapes.items():
        size = int(np.prod(shape))
        for start in (0, 1, size - 1, size):
            memory = np.concatenate([X.ravel()[:size], np.zeros(16, "float32")])
            before, out = memory.copy(), memory[start : start + 16].reshape(4, 4)
            inputs = [*{**whole, kind: memory[:size].reshape(shape)}.values()]
            if start < size:
                with pytest.raises(
                    ValueError, match=f"out shares memory with {kind}; expected an array of its own"
                ):
                    function(*inputs, out=out)
                np.testing.assert_array_equal(memory, before)
            else:
                assert function(*inputs, out=out) is out
                np.testing.assert_array_equal(out, wanted)


# --- labels

BAD_LABELS = [
    ([0, 3], r"target\[1\] is 3; expected a class number from 0 to 2 \(pred has 3 columns\)"),
    ([-1, 0], r"target\[0\] is -1; expected a class number from 0 to 2 \(pred has 3 columns\)"),
    ([0, np.iinfo("int64").min], r"target\[1\] is -9223372036854775808; expected a class number from 0 to 2"),
    (np.array([2**63, 0], "uint64"), "expected a class number from 0 to 2"),
    (np.float32([1, 0.5]), r"target\[1\] is 0\.5; expected whole class numbers"),
    (np.float32([np.nan, 0]), r"target\[0\] is NaN; expected whole class numbers"),
    (np.float32([0, np.inf]), r"target\[1\] is inf; expected whole class numbers"),
    (np.float32([0, 1e30]), r"target\[1\] is 1\d{30}|target\[1\] is 10{30}|target\[1\] is 1000"),
]


@pytest.mark.parametrize(("target", "message"), BAD_LABELS)
def test_labels_that_name_no_class(target, message):
    pred = X[:2, :3]
    for name in ("cross_entropy", "nll_loss", "hinge_loss", "perceptron_loss"):
        for function in (getattr(F, name), getattr(F, name + "_backward")):
            with pytest.raises(ValueError, match=message):
                function(pred, target)
    for loss in (nn.CrossEntropyLoss(), nn.NLLLoss(), nn.HingeLoss(), nn.PerceptronLoss()):
        for call in (loss, loss.value_and_grad):
            with pytest.raises(ValueError, match=message):
                call(pred, target)
    model = nn.MLP([4, 5, 3], seed=0)
    trainer = trainer_of(model)
    trainer.step(X, [0, 1, 2, 0])
    before, state = model.flat_parameters().copy(), trainer.optimizer.state_dict()
    with pytest.raises(ValueError, match=message):
        trainer.step(X[:2], target)
    np.testing.assert_array_equal(model.flat_parameters(), before)
    np.testing.assert_equal(trainer.optimizer.state_dict(), state)
    assert trainer.global_step == 1
    trainer.step(X, [0, 1, 2, 0])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 1, 2, 3], r"y has 4 different labels \(0, 1, 2, 3\); the model has 3 outputs"),
        ([0, 1, 1.5, 2], r"y has 1\.5 in row 2; expected class numbers, whole and finite"),
        ([0, 1, np.nan, 2], "y has nan in row 2; expected class numbers, whole and finite"),
    ],
)
def test_labels_that_a_fit_cannot_number(y, message):
    model = nn.MLP([4, 5, 3], seed=0)
    trainer, before = trainer_of(model), model.flat_parameters().copy()
    with pytest.raises(ValueError, match=message):
        trainer.fit(X, y, epochs=1)
    trainer.step(X, [0, 1, 2, 0])
    for attempt in (
        lambda: trainer.evaluate(X, [0, 1, 5, 2]),
        lambda: trainer.fit(X, [0, 1, 2, 0], epochs=1, validation_data=(X, [0, 1, 5, 2])),
    ):
        with pytest.raises(ValueError, match="y has the label 5; expected class numbers 0 to 2"):
            attempt()
    assert trainer.global_step == 1
    assert not np.array_equal(model.flat_parameters(), before)


# --- objects

THINGS = X.astype(object)
MODEL = nn.MLP([4, 5, 4], seed=0, task="multiclass")
TRAINER = trainer_of(nn.MLP([4, 5, 4], seed=0, task="multiclass"))
LABELS = np.array([0, 1, 2, 3])
OBJECTS = {
    "relu, x": lambda: F.relu(THINGS),
    "relu_backward, dout": lambda: F.relu_backward(THINGS, X),
    "relu_backward, x": lambda: F.relu_backward(X, THINGS),
    "softmax, x": lambda: F.softmax(THINGS),
    "softmax_backward, dout": lambda: F.softmax_backward(THINGS, X),
    "linear, x": lambda: F.linear(THINGS, X),
    "linear, weight": lambda: F.linear(X, THINGS),
    "linear, bias": lambda: F.linear(X, X, THINGS[0]),
    "linear_backward, dout": lambda: F.linear_backward(THINGS, X, X),
    "linear_backward, x": lambda: F.linear_backward(X, THINGS, X),
    "linear_backward, weight": lambda: F.linear_backward(X, X, THINGS),
    "mse_loss, pred": lambda: F.mse_loss(THINGS, X),
    "mse_loss, target": lambda: F.mse_loss(X, THINGS),
    "mse_loss, sample_weight": lambda: F.mse_loss(X, X, sample_weight=THINGS[0]),
    "cross_entropy, target": lambda: F.cross_entropy(X, LABELS.astype(object)),
    "cross_entropy, class_weight": lambda: F.cross_entropy(X, LABELS, class_weight=np.abs(THINGS[0])),
    "bits, pos_weight": lambda: F.binary_cross_entropy_with_logits(X, X > 0, pos_weight=np.abs(THINGS[0])),
    "model, x": lambda: MODEL(THINGS),
    "predict, x": lambda: MODEL.predict(THINGS),
    "predict_proba, x": lambda: MODEL.predict_proba(THINGS),
    "predictor, x": lambda: PREDICTOR(THINGS),
    "backward, dout": lambda: (MODEL(X), MODEL.backward(THINGS)),
    "step, x": lambda: TRAINER.step(THINGS, LABELS),
    "step, target": lambda: TRAINER.step(X, LABELS.astype(object)),
    "step, sample_weight": lambda: TRAINER.step(X, LABELS, np.abs(THINGS[0])),
    "fit, x": lambda: TRAINER.fit(THINGS, LABELS, epochs=1),
    "fit, y": lambda: TRAINER.fit(X, LABELS.astype(object), epochs=1),
    "fit, sample_weight": lambda: TRAINER.fit(X, LABELS, epochs=1, sample_weight=np.abs(THINGS[0])),
    "evaluate, x": lambda: TRAINER.evaluate(THINGS, LABELS),
    "evaluate, y": lambda: TRAINER.evaluate(X, LABELS.astype(object)),
    "scaler, x": lambda: nn.Standardize().learn(THINGS),
    "parameter, data": lambda: nn.Parameter(THINGS),
    "assigning, data": lambda: setattr(MODEL[0].weight, "data", np.zeros((5, 4), object)),
    "assigning, grad": lambda: setattr(MODEL[0].weight, "grad", np.zeros((5, 4), object)),
    "one_hot, y": lambda: nnrs.data.one_hot(LABELS.astype(object)),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_are_no_numbers(name):
    before = [model.flat_parameters().copy() for model in (MODEL, TRAINER.model)]
    with pytest.raises(
        TypeError, match=rf"^{name.split(', ')[1]} (has dtype object|holds objects); expected"
    ):
        OBJECTS[name]()
    for model, values in zip((MODEL, TRAINER.model), before, strict=True):
        np.testing.assert_array_equal(model.flat_parameters(), values)
    assert TRAINER.global_step == 0


# --- sizes

HUGE = """
import resource
import numpy as np
import nnrs
import nnrs.functional as F
from nnrs import nn, optim

resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

def huge(*shape):
    return np.broadcast_to(np.float32(1), shape)

model = nn.MLP([3, 4, 2], seed=0)
predictor = model.freeze()
trainer = nnrs.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1))
before = model.flat_parameters().copy()
try:
    CALL
except (MemoryError, ValueError):
    assert (model.flat_parameters() == before).all() and trainer.global_step == 0
    assert np.isfinite(trainer.step(np.ones((5, 3), "float32"), np.ones((5, 2), "float32")))
    print("refused")
"""
SIZES = [
    "F.relu(huge(2**40, 3))",
    "F.relu_backward(huge(2**40, 3), huge(2**40, 3))",
    "F.softmax(huge(2**40, 3))",
    "F.linear(huge(2**40, 3), np.ones((5, 3), 'float32'))",
    "F.linear(huge(2**31, 1), huge(2**31, 1))",
    "F.linear_backward(huge(2**40, 5), huge(2**40, 3), np.ones((5, 3), 'float32'))",
    "F.mse_loss_backward(huge(2**40, 3), huge(2**40, 3))",
    "model(huge(2**40, 3))",
    "model.eval()(huge(2**40, 3))",
    "predictor(huge(2**40, 3))",
    "trainer.evaluate(huge(2**40, 3), huge(2**40, 2))",
    "nn.Linear(2**20, 2**20)",
    "nn.Linear(2**20, 2**20, init='orthogonal')",
    "F.linear(np.ones((1, 2**20), 'float32'), huge(2**22, 2**20))",
    "F.mse_loss(huge(2**40, 3), huge(2**40, 3))",
    "nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 0))(huge(2**40, 3))",
    "trainer.step(huge(2**40, 3), huge(2**40, 2))",
    "trainer.fit(huge(2**40, 3), huge(2**40, 2), epochs=1)",
    "nn.Parameter(huge(2**40))",
]


@pytest.mark.parametrize("call", SIZES)
def test_more_than_memory_holds_is_refused(call):
    """Broadcast views are that large without memory of their own; the limit keeps the machine from trying."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs system linux")
    done = run(HUGE.replace("CALL", call))
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr[-500:]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.Linear(2**63, 2), "in_features is 9223372036854775808"),
        (lambda: nn.Linear(2**32, 2**32), r"expected at most 2\*\*40"),
        (lambda: nn.MLP([2**32, 2**32]), r"expected at most 2\*\*40"),
        (lambda: nnrs.set_num_threads(2**64), r"n must be below 2\*\*63, got 18446744073709551616"),
        (lambda: nnrs.set_num_threads(2000), "n is 2000; expected 1 to 1024"),
        (lambda: nnrs.threads(2**64), r"n must be below 2\*\*63"),
        (lambda: MODEL.freeze(num_threads=2**64), r"num_threads must be below 2\*\*63"),
        (lambda: MODEL.predict(X, batch_size=2**64), r"batch_size must be below 2\*\*63"),
        (lambda: TRAINER.fit(X, LABELS, epochs=1, batch_size=2**64), r"batch_size must be below 2\*\*63"),
        (
            lambda: nnrs.manual_seed(2**64),
            r"seed must be at least 0 and below 2\*\*64, got 18446744073709551616",
        ),
        (lambda: trainer_of(MODEL).fit(X, LABELS, epochs=2**63), r"epochs must be below 2\*\*63"),
    ],
)
def test_numbers_that_overflow(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- training


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_a_step_whose_loss_is_not_finite_writes_nothing(bad):
    model = nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 3), seed=0)
    trainer = trainer_of(model, nn.MSELoss())
    x, y = np.tile(X, (10, 2))[:, :5], np.tile(X, (10, 1))[:, :3]
    trainer.step(x, y)
    before, state = model.flat_parameters().copy(), trainer.optimizer.state_dict()
    x[11, 2] = bad
    for attempt in (lambda: trainer.step(x, y), lambda: trainer.fit(x, y, epochs=1, batch_size=40)):
        with pytest.raises(RuntimeError, match=r"loss is (nan|inf)"):
            attempt()
        np.testing.assert_array_equal(model.flat_parameters(), before)
        np.testing.assert_equal(trainer.optimizer.state_dict(), state)
        assert trainer.global_step == 1


def test_no_rows_are_predicted_but_not_trained():
    model = nn.MLP([4, 5, 3], seed=0, task="multiclass")
    trainer = trainer_of(model)
    none, y = np.zeros((0, 4), "float32"), np.zeros(0, int)
    assert model.predict(none).shape == (0,)
    assert model.predict_proba(none).shape == (0, 3)
    assert model.freeze()(none).shape == (0, 3)
    for attempt in (
        lambda: trainer.step(none, y),
        lambda: trainer.fit(none, y, epochs=1),
        lambda: trainer.evaluate(none, y),
    ):
        with pytest.raises(ValueError, match="no rows"):
            attempt()
    assert trainer.global_step == 0


# --- instruction sets


@pytest.mark.parametrize("isa", ["sse9", "AVX2", "neon", "avx512"])
def test_an_instruction_set_that_is_not_there_is_an_error_at_import(isa):
    available = _core.available_isas()
    if isa in available:
        assert run("import nnrs", NNRS_ISA=isa).returncode == 0
        return
    done = run("import nnrs", NNRS_ISA=isa)
    known = isa in ("neon", "avx512")
    says = (
        f'the instruction set "{isa}" is not available on' if known else f'unknown instruction set "{isa}";'
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: NNRS_ISA: {says} this machine")
    assert last.endswith(", ".join(available))
