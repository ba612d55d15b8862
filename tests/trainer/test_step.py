import copy
import math

import numpy as np
import pytest

from nnrs import _core, nn, optim
from nnrs.callbacks import LambdaCallback
from nnrs.data import batches


def test_a_step_is_the_loop_written_by_hand(table, network, trainer_of):
    x, y = table(dtype="float64")
    trainer = trainer_of(network(dtype="float64"))
    model, criterion = network(dtype="float64"), nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for start in range(0, 60, 20):
        xb, yb = x[start : start + 20], y[start : start + 20]
        before = criterion(model.eval()(xb), yb)
        model.train()
        loss, gradient = criterion.value_and_grad(model(xb), yb)
        model.backward(gradient)
        optimizer.step()
        optimizer.zero_grad()
        assert trainer.step(xb, yb) == pytest.approx(loss, rel=1e-12)
        assert loss == pytest.approx(before, rel=1e-12)
    for p, q in zip(trainer.model.parameters(), model.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-9, atol=1e-12)
    assert trainer.global_step == 3
    assert trainer.epoch == 0


def test_steps_weigh_samples(table, trainer_of):
    x, y = table()
    weights = np.where(np.arange(60) < 30, 1.0, 0.0)
    one, two = trainer_of(), trainer_of()
    one.step(x, y, weights)
    two.step(x[:30], y[:30])
    for p, q in zip(one.model.parameters(), two.model.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, atol=1e-5)


def test_gradients_are_kept_on_demand(table, network, trainer_of):
    x, y = table(dtype="float64")
    trainer = trainer_of(network(dtype="float64"), keep_grad=True)
    model = network(dtype="float64")
    model.backward(nn.CrossEntropyLoss().value_and_grad(model(x), y)[1])
    trainer.step(x, y)
    for p, q in zip(trainer.model.parameters(), model.parameters(), strict=True):
        np.testing.assert_allclose(p.grad, q.grad, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    "limits",
    [{"clip_grad_norm": 0.01}, {"clip_grad_value": 0.01}, {"clip_grad_norm": 0.01, "clip_grad_value": 0.005}],
)
def test_clipping(limits, table, network, trainer_of):
    x, y = table(dtype="float64")
    model = network(dtype="float64")
    trainer = trainer_of(copy.deepcopy(model), kind=optim.SGD, lr=1.0, **limits)
    trainer.step(x, y)
    model.backward(nn.CrossEntropyLoss().value_and_grad(model(x), y)[1])
    gradient = np.concatenate([p.grad.ravel() for p in model.parameters()])
    if "clip_grad_norm" in limits:
        gradient *= min(1.0, limits["clip_grad_norm"] / (np.linalg.norm(gradient) + 1e-6))
    if "clip_grad_value" in limits:
        gradient = np.clip(gradient, -limits["clip_grad_value"], limits["clip_grad_value"])
    start = np.concatenate([p.data.ravel() for p in model.parameters()])
    end = np.concatenate([p.data.ravel() for p in trainer.model.parameters()])
    np.testing.assert_allclose(start - end, gradient, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("batch_size", [1, 32, 60, 1000])
def test_an_epoch_is_its_steps(batch_size, table, network, trainer_of, assert_same):
    x, y = table()
    whole, parts = trainer_of(network(0.5)), trainer_of(network(0.5))
    history = whole.fit(x, y, epochs=3, batch_size=batch_size)
    for epoch in range(3):
        order = _core.permutation(7, "shuffle", epoch, 60)
        losses, rows = [], []
        for start in range(0, 60, batch_size):
            part = order[start : start + batch_size]
            losses.append(parts.step(x[part], y[part]))
            rows.append(len(part))
        assert history.epochs[epoch]["loss"] == pytest.approx(np.average(losses, weights=rows), rel=1e-6)
    assert_same(whole, parts)
    assert whole.global_step == parts.global_step == 3 * math.ceil(60 / batch_size)
    assert whole.epoch == 3


def test_ways_to_give_the_same_rows_give_the_same_bits(tmp_path, table, network, trainer_of, assert_same):
    x, y = table()
    arrays = trainer_of(network(0.3))
    arrays.fit(x, y, epochs=2, batch_size=16)
    iterated = trainer_of(network(0.3))
    iterated.fit(batches(x, y, 16, seed=7), epochs=2)
    stepped = trainer_of(network(0.3))
    stepped.fit(x, y, epochs=2, batch_size=16, callbacks=[LambdaCallback(on_step_end=lambda *_: None)])
    np.save(tmp_path / "x.npy", x)
    mapped = trainer_of(network(0.3))
    mapped.fit(np.load(tmp_path / "x.npy", mmap_mode="r"), y, epochs=2, batch_size=16)
    strided = trainer_of(network(0.3))
    strided.fit(np.asfortranarray(np.repeat(x, 2, axis=0))[::2], y, epochs=2, batch_size=16)
    for other in (iterated, stepped, mapped, strided):
        assert_same(arrays, other)
        losses = [row["loss"] for row in other.history.epochs]
        assert losses == pytest.approx([row["loss"] for row in arrays.history.epochs], rel=1e-6)


def test_a_second_fit_goes_on(table, network, trainer_of, assert_same):
    x, y = table()
    once, twice = trainer_of(network(0.3)), trainer_of(network(0.3))
    once.fit(x, y, epochs=4)
    twice.fit(x, y, epochs=1)
    history = twice.fit(x, y, epochs=3)
    assert_same(once, twice)
    assert history is twice.history
    assert [row["epoch"] for row in history.epochs] == [1, 2, 3, 4]
    assert [row["loss"] for row in history.epochs] == [row["loss"] for row in once.history.epochs]


def test_without_shuffle_rows_come_as_they_lie(table, trainer_of, assert_same):
    x, y = table()
    fitted, stepped = trainer_of(), trainer_of()
    fitted.fit(x, y, epochs=1, batch_size=25, shuffle=False)
    for start in (0, 25, 50):
        stepped.step(x[start : start + 25], y[start : start + 25])
    assert_same(fitted, stepped)


def test_seeds_repeat_and_are_recorded(table, network, trainer_of, assert_same):
    x, y = table()
    runs = [trainer_of(network(0.5), seed=seed) for seed in (3, 3, 4, None)]
    for trainer in runs:
        trainer.fit(x, y, epochs=1)
    assert_same(runs[0], runs[1])
    assert not np.array_equal(runs[0].model[0].weight.data, runs[2].model[0].weight.data)
    again = trainer_of(network(0.5), seed=runs[3].history.seed)
    again.fit(x, y, epochs=1)
    assert_same(runs[3], again)


def test_one_call_a_step(table, trainer_of, core_calls):
    x, y = table()
    trainer = trainer_of()
    trainer.step(x, y)
    assert core_calls(lambda: trainer.step(x, y)) == ["step"]
    assert core_calls(lambda: [trainer.step(x, y) for _ in range(5)]) == ["step"] * 5


def test_one_call_an_epoch(table, trainer_of, core_calls):
    x, y = table()
    trainer = trainer_of()
    counts = {}
    for epochs in (1, 4):
        names = core_calls(lambda n=epochs: trainer.fit(x, y, epochs=n, batch_size=8))
        counts[epochs] = len(names)
        assert names.count("epoch") == epochs
        assert "step" not in names
    assert counts[4] - counts[1] == 3


def test_one_prediction_a_validation(table, trainer_of, core_calls):
    x, y = table()
    trainer = trainer_of()
    names = core_calls(
        lambda: trainer.fit(x, y, epochs=3, validation_split=0.25, metrics=["accuracy", "log_loss"])
    )
    assert names.count("predict") == 3
    assert names.count("epoch") == 3


def test_one_call_a_prediction(table, network, core_calls):
    x, _ = table()
    model = network().eval()
    model(x)
    assert core_calls(lambda: model(x)) == ["predict"]
