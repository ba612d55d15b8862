"""Modules, losses and optimisers of the user's own under a trainer."""

import numpy as np
import pytest

import nnrs
from nnrs import nn, optim


class OwnTanh(nn.Module):
    def forward(self, x):
        self.out = np.tanh(x)
        return self.out

    def backward(self, dout):
        return dout * (1 - self.out**2)


class OwnScale(nn.Module):
    def __init__(self, features):
        self.factor = nn.Parameter(np.ones(features))

    def forward(self, x):
        self.x = x
        return x * self.factor.data

    def backward(self, dout):
        self.factor.grad += (dout * self.x).sum(axis=0)
        return dout * self.factor.data


def build(activation):
    return nn.Sequential(
        nn.Standardize(),
        nn.Linear(5, 8),
        activation,
        nn.Dropout(0.3),
        nn.Linear(8, 3),
        seed=1,
        dtype="float64",
    )


def test_a_module_in_the_middle_trains_like_the_layer(table, trainer_of):
    x, y = table(dtype="float64")
    one, two = trainer_of(build(nn.Tanh())), trainer_of(build(OwnTanh()))
    for trainer in (one, two):
        trainer.fit(x, y, epochs=5, batch_size=16, validation_split=0.25, metrics=["accuracy"])
    for p, q in zip(one.model.parameters(), two.model.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-9, atol=1e-12)
    for a, b in zip(one.history.epochs, two.history.epochs, strict=True):
        assert {**a, "seconds": 0} == pytest.approx({**b, "seconds": 0}, rel=1e-9)
    assert one.global_step == two.global_step
    np.testing.assert_array_equal(one.model.predict(x), two.model.predict(x))


def test_own_parameters_are_trained(table, trainer_of):
    x, y = table()
    model = nn.Sequential(nn.Linear(5, 8), OwnScale(8), nn.ReLU(), nn.Linear(8, 3), seed=0)
    trainer = trainer_of(model)
    history = trainer.fit(x, y, epochs=20, metrics=["accuracy"], train_metrics=True)
    assert not np.array_equal(model[1].factor.data, np.ones(8))
    assert model[1].factor.data.dtype == np.float32
    assert history.epochs[-1]["accuracy"] > 0.9


def test_a_model_that_is_no_sequential(table, trainer_of):
    class Whole(nn.Module):
        def __init__(self):
            self.layers = nn.ModuleList([nn.Linear(5, 6), nn.Linear(6, 3)])

        def forward(self, x):
            self.hidden = self.layers[0](x)
            return self.layers[1](np.maximum(self.hidden, 0))

        def backward(self, dout):
            return self.layers[0].backward(self.layers[1].backward(dout) * (self.hidden > 0))

    x, y = table()
    names = np.array(["a", "b", "c"])[y]
    trainer = trainer_of(Whole(), lr=0.02)
    history = trainer.fit(
        x, names, epochs=30, validation_split=0.2, metrics=["accuracy"], class_weight="balanced"
    )
    assert trainer.model.task == "multiclass"
    assert set(trainer.model.predict(x)) <= set("abc")
    assert history.epochs[-1]["val_accuracy"] > 0.6
    trainer.step(x, names)
    assert trainer.evaluate(x, names)["accuracy"] > 0.8
    other = trainer_of(Whole(), lr=0.02)
    other.fit([(x, y)], epochs=2, validation_data=(x, y), metrics=["accuracy"])
    assert other.model.task == "multiclass"


def test_an_own_loss(table, trainer_of):
    class Absolute:
        def value_and_grad(self, pred, target, sample_weight=None):
            error = pred - target.reshape(pred.shape)
            weight = np.ones(len(pred)) if sample_weight is None else sample_weight
            weight = (weight / weight.sum())[:, None].astype(pred.dtype)
            return float((np.abs(error) * weight).sum()), np.sign(error) * weight

    x, _ = table(dtype="float64")
    y = x[:, 0]
    weights = np.linspace(1, 2, 60)
    pair = []
    for loss in (Absolute(), nn.L1Loss()):
        model = nn.Sequential(nn.Linear(5, 1, dtype="float64"), seed=0, task="regression")
        trainer = trainer_of(model, loss)
        trainer.fit(x, y, epochs=5, sample_weight=weights, validation_data=(x, y), metrics=["mae"])
        pair.append(trainer)
    for p, q in zip(pair[0].model.parameters(), pair[1].model.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-9)
    assert pair[0].history.epochs[-1]["val_loss"] == pytest.approx(
        pair[1].history.epochs[-1]["val_loss"], rel=1e-9
    )


def test_an_own_loss_sets_no_task(table, trainer_of):
    class Squared(nn.Loss):
        def value_and_grad(self, pred, target, sample_weight=None):
            return float(np.mean((pred - target) ** 2)), 2 * (pred - target) / pred.size

    x, _ = table()
    trainer = trainer_of(nn.Sequential(nn.Linear(5, 1), seed=0), Squared())
    trainer.fit(x, x[:, :1], epochs=1)
    assert trainer.model.task is None
    with pytest.raises(ValueError, match="metrics has 'mse' and the model no task"):
        trainer.fit(x, x[:, :1], epochs=1, metrics=["mse"])


def test_an_own_optimizer(table, network, assert_same):
    class Descent:
        def __init__(self, parameters):
            self.parameters = list(parameters)

        def step(self):
            for p in self.parameters:
                p.data -= np.float64(0.1) * p.grad

    x, y = table(dtype="float64")
    one, two = network(0.3, dtype="float64"), network(0.3, dtype="float64")
    first = nnrs.Trainer(one, nn.CrossEntropyLoss(), Descent(one.parameters()), seed=7)
    second = nnrs.Trainer(two, nn.CrossEntropyLoss(), optim.SGD(two.parameters(), lr=0.1), seed=7)
    for trainer in (first, second):
        trainer.fit(x, y, epochs=3)
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-10, atol=1e-13)
