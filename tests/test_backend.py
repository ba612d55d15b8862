import numpy as np
import pytest

from nnrs import _core, nn, optim
from nnrs.backend import CpuBackend, Options, get_backend, model_dtype
from nnrs.criterion import Criterion
from nnrs.session import PythonSession


class Own(nn.Module):
    def forward(self, x):
        return x

    def backward(self, dout):
        return dout


class OwnLoss:
    def value_and_grad(self, pred, target, sample_weight=None):
        error = pred - target
        weight = np.ones(len(pred)) if sample_weight is None else sample_weight
        weight = (weight / weight.sum())[:, None] / pred.shape[1]
        return float((weight * error**2).sum()), 2 * error * weight


class OwnOptimizer:
    def __init__(self, parameters, lr=0.1):
        self.parameters, self.lr = list(parameters), lr

    def step(self):
        for p in self.parameters:
            p.data -= self.lr * p.grad


def data(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(20, 4)), rng.normal(size=(20, 2))


def build(own=False):
    layers = [nn.Linear(4, 6, dtype="float64"), nn.Tanh(), nn.Dropout(0.3), nn.Linear(6, 2, dtype="float64")]
    if own:
        layers.insert(1, Own())
    return nn.Sequential(*layers, seed=3)


def compile_with(model, loss=None, optimizer=None, **options):
    return CpuBackend().compile(
        model,
        Criterion(loss or nn.MSELoss()),
        optimizer or optim.SGD(model.parameters(), lr=0.1),
        Options(5, **options),
    )


def values(model):
    return np.concatenate([p.data.ravel() for p in model.parameters()])


def test_devices():
    assert isinstance(get_backend("cpu"), CpuBackend)
    for device in ("cuda", "CPU", "", None):
        with pytest.raises(ValueError, match="device must be one of 'cpu', got"):
            get_backend(device)


def test_what_is_all_nnrss_own_runs_in_the_core():
    assert isinstance(compile_with(build()), _core.Session)
    assert isinstance(compile_with(build(own=True)), PythonSession)
    assert isinstance(compile_with(build(), loss=OwnLoss()), PythonSession)
    model = build()
    assert isinstance(compile_with(model, optimizer=OwnOptimizer(model.parameters())), PythonSession)


WAYS = {
    "core": lambda model: compile_with(model),
    "own loss": lambda model: compile_with(model, loss=OwnLoss()),
    "own optimizer": lambda model: compile_with(model, optimizer=OwnOptimizer(model.parameters())),
}


@pytest.mark.parametrize("way", [*WAYS, "own module"])
def test_every_session_does_the_same_steps(way):
    x, y = data()
    native, model = build(), build(own=way == "own module")
    one, two = compile_with(native), WAYS.get(way, compile_with)(model)
    for _ in range(5):
        assert two.step(x, y) == pytest.approx(one.step(x, y), rel=1e-12)
    np.testing.assert_allclose(values(model), values(native), rtol=1e-10, atol=1e-14)
    assert one.epoch(x, y, batch_size=6, epoch=0) == pytest.approx(
        two.epoch(x, y, batch_size=6, epoch=0), rel=1e-10
    )
    rows = np.array([1, 4, 5, 9, 11], dtype=np.int64)
    for session in (one, two):
        session.epoch(x, y, np.linspace(1, 2, 20), batch_size=2, epoch=3, rows=rows)
        session.epoch(x, y, batch_size=7, epoch=3, shuffle=False)
    np.testing.assert_allclose(values(model), values(native), rtol=1e-10, atol=1e-14)
    assert one.global_step == two.global_step == 5 + 4 + 3 + 3


@pytest.mark.parametrize("own", [False, True])
def test_a_step_in_parts(own):
    x, y = data()
    whole, parts = build(own), build(own)
    one, two = compile_with(whole, keep_grad=True), compile_with(parts, keep_grad=True)
    for _ in range(3):
        loss = one.step(x, y)
        assert two.gradients(x, y) == loss
        gradient = parts.flat_gradients().copy()
        before = values(parts)
        two.apply()
        assert not np.array_equal(values(parts), before)
        np.testing.assert_allclose(
            before - values(parts), 0.1 * _segments(parts, gradient), rtol=1e-9, atol=1e-15
        )
    np.testing.assert_array_equal(values(whole), values(parts))
    assert two.global_step == 3


def _segments(model, flat):
    view = model.flat_gradients()
    view[:] = flat
    return np.concatenate([p.grad.ravel() for p in model.parameters()])


@pytest.mark.parametrize("limits", [{"clip_grad_norm": 0.05}, {"clip_grad_value": 0.01}])
def test_sessions_clip_alike(limits):
    x, y = data()
    native, model = build(), build(own=True)
    one, two = compile_with(native, **limits), compile_with(model, **limits)
    for _ in range(3):
        one.step(x, y)
        two.step(x, y)
    free = build()
    third = compile_with(free)
    for _ in range(3):
        third.step(x, y)
    np.testing.assert_allclose(values(model), values(native), rtol=1e-10, atol=1e-14)
    assert not np.allclose(values(free), values(native), rtol=1e-3)


def test_progress_is_reported_and_may_raise():
    x, y = data()
    model = build(own=True)
    session = compile_with(model)

    def fail(rows, loss):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.epoch(
            np.repeat(x, 5000, axis=0), np.repeat(y, 5000, axis=0), batch_size=20, epoch=0, progress=fail
        )
    assert 0 < session.global_step < 5000


def test_models_of_other_structure():
    x, y = data()

    class Two(nn.Module):
        """Two branches, summed: no Sequential at all."""

        def __init__(self):
            self.left = nn.Sequential(nn.Linear(4, 2, dtype="float64"), nn.Dropout(0.5), seed=0)
            self.right = nn.Linear(4, 2, dtype="float64", init="zeros")

        def forward(self, x):
            return self.left(x) + self.right(x)

        def backward(self, dout):
            return self.left.backward(dout) + self.right.backward(dout)

    runs = []
    for _ in range(2):
        model = Two()
        session = compile_with(model, optimizer=optim.SGD(model.parameters(), lr=0.05))
        losses = [session.step(x, y) for _ in range(60)]
        assert np.mean(losses[-10:]) < np.mean(losses[:10])
        runs.append(losses)
    assert runs[0] == runs[1]


def test_float32_models_take_other_inputs_in_python_too():
    model = nn.Sequential(nn.Linear(4, 2), Own(), seed=0)
    session = compile_with(model)
    x, y = data()
    loss = session.step(x, y.astype("float32"))
    session.step(np.round(x).astype(int), y.astype("float32"))
    assert np.isfinite(loss)
    assert model[0].weight.data.dtype == np.float32


def test_an_optimiser_of_another_model_is_refused():
    model, other = build(), build()
    with pytest.raises(ValueError, match="optimizer has not the model's parameters"):
        compile_with(model, optimizer=optim.SGD(other.parameters(), lr=0.1))


def test_an_optimiser_of_a_part_trains_that_part():
    x, y = data()
    model = build()
    first, last = model[0].weight.data.copy(), model[3].weight.data.copy()
    compile_with(model, optimizer=optim.SGD(model[3].parameters(), lr=0.1)).step(x, y)
    np.testing.assert_array_equal(model[0].weight.data, first)
    assert not np.array_equal(model[3].weight.data, last)


def test_predictions_in_blocks(monkeypatch):
    x, _ = data()
    for model in (build().eval(), build(own=True).eval()):
        whole = model(x)
        backend = CpuBackend()
        monkeypatch.setattr("nnrs.backend._BLOCK_BYTES", 4 * 8 * 3)
        np.testing.assert_array_equal(backend.predict(model, x), whole)
        np.testing.assert_array_equal(backend.predict(model, x, np.array([7, 3, 3, 0])), whole[[7, 3, 3, 0]])
        monkeypatch.undo()
        np.testing.assert_array_equal(backend.predict(model, x), whole)
        assert backend.predict(model, x[:0]).shape == (0, 2)


def test_state():
    x, y = data()
    model = build()
    optimizer = optim.Adam(model.parameters())
    backend = CpuBackend()
    session = backend.compile(model, Criterion(nn.MSELoss()), optimizer, Options(0))
    session.step(x, y)
    state = backend.state(model, optimizer)
    assert list(state["model"]) == ["0.weight", "0.bias", "3.weight", "3.bias"]
    assert state["optimizer"]["state"][0]["step"] == 1
    before = state["model"]["0.weight"].copy()
    session.step(x, y)
    np.testing.assert_array_equal(state["model"]["0.weight"], before)


def test_dtype_of_a_model():
    assert model_dtype(build()) == "float64"
    assert model_dtype(nn.ReLU()) == "float32"
    assert model_dtype(Own()) == "float32"
