"""Loss objects: the functions of nnrs.functional behind them, class weights, models that fit."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import nnrs.functional as F
from nnrs import nn

CASES = [
    (nn.CrossEntropyLoss, {}, F.cross_entropy, "classes"),
    (nn.CrossEntropyLoss, {"label_smoothing": 0.2}, F.cross_entropy, "classes"),
    (nn.CrossEntropyLoss, {"class_weight": [1.0, 2.0, 0.5]}, F.cross_entropy, "classes"),
    (nn.CrossEntropyLoss, {"class_weight": {2: 3.0}, "label_smoothing": 0.1}, F.cross_entropy, "classes"),
    (nn.CrossEntropyLoss, {"class_weight": "balanced"}, F.cross_entropy, "classes"),
    (nn.NLLLoss, {}, F.nll_loss, "logarithms"),
    (nn.NLLLoss, {"class_weight": {0: 2.0}}, F.nll_loss, "logarithms"),
    (nn.BCEWithLogitsLoss, {}, F.binary_cross_entropy_with_logits, "bits"),
    (nn.BCEWithLogitsLoss, {"pos_weight": [1.0, 2.0, 3.0]}, F.binary_cross_entropy_with_logits, "bits"),
    (nn.BCEWithLogitsLoss, {"pos_weight": 2.0}, F.binary_cross_entropy_with_logits, "bits"),
    (nn.BCELoss, {}, F.binary_cross_entropy, "probabilities"),
    (nn.MSELoss, {}, F.mse_loss, "values"),
    (nn.L1Loss, {}, F.l1_loss, "values"),
    (nn.HuberLoss, {}, F.huber_loss, "values"),
    (nn.HuberLoss, {"delta": 0.3}, F.huber_loss, "values"),
    (nn.HingeLoss, {}, F.hinge_loss, "classes"),
    (nn.PerceptronLoss, {}, F.perceptron_loss, "classes"),
]


def data(kind, rng):
    pred = rng.normal(size=(8, 3))
    labels = np.array([0, 1, 2, 1, 0, 0, 2, 1])
    return {
        "classes": (pred, labels),
        "logarithms": (F.log_softmax(pred), labels),
        "bits": (pred, (rng.normal(size=(8, 3)) > 0).astype(float)),
        "probabilities": (F.sigmoid(pred), (rng.normal(size=(8, 3)) > 0).astype(float)),
        "values": (pred, rng.normal(size=(8, 3))),
    }[kind]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "settings", "function", "targets"), CASES)
def test_a_loss_is_its_function(kind, settings, function, targets, dtype, rng):
    pred, target = data(targets, rng)
    pred = pred.astype(dtype)
    target = target.astype(dtype) if target.dtype.kind == "f" else target
    weights = rng.uniform(0.5, 2, 8)
    backward = getattr(F, function.__name__ + "_backward")
    loss = kind(**settings)
    for one in (loss, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        for options in ({}, {"sample_weight": weights}):
            value, gradient = one.value_and_grad(pred, target, **options)
            assert isinstance(value, float)
            assert value == one(pred, target, **options) == function(pred, target, **options, **settings)
            np.testing.assert_array_equal(gradient, backward(pred, target, **options, **settings))
            assert gradient.dtype == dtype


def test_balanced_under_a_trainer_needs_the_whole_training_set():
    loss = nn.CrossEntropyLoss("balanced", label_smoothing=0.1)
    with pytest.raises(ValueError, match="balanced"):
        loss.native()
    core = loss.native([1.0, 3.0])
    want = F.cross_entropy([[0.0, 1.0]], [1], class_weight=[1.0, 3.0], label_smoothing=0.1)
    assert core.value(np.array([[0.0, 1.0]]), np.array([1])) == want
    with pytest.raises(ValueError, match="MSELoss does not weigh classes"):
        nn.MSELoss().native([1.0, 2.0])
    assert nn.MSELoss().native() is not None
    assert nn.Loss().native() is None


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: nn.CrossEntropyLoss("equal"), ValueError),
        (lambda: nn.CrossEntropyLoss([-1.0, 1.0]), ValueError),
        (lambda: nn.CrossEntropyLoss(label_smoothing=2.0), ValueError),
        (lambda: nn.NLLLoss([np.nan]), ValueError),
        (lambda: nn.HuberLoss(-1.0), ValueError),
        (lambda: nn.BCEWithLogitsLoss([-1.0]), ValueError),
    ],
)
def test_settings_outside_their_range(build, error):
    with pytest.raises(error):
        build()


@pytest.mark.parametrize(
    ("loss", "last", "fix"),
    [
        (nn.CrossEntropyLoss, nn.Softmax, "leave the Softmax layer out"),
        (nn.NLLLoss, nn.Softmax, "end in LogSoftmax"),
        (nn.BCEWithLogitsLoss, nn.Sigmoid, "leave the Sigmoid layer out"),
    ],
)
def test_what_is_applied_twice_is_refused(loss, last, fix):
    for tail in ([last()], [nn.Sequential(last(), nn.Dropout(0.5)), nn.Identity()]):
        with pytest.raises(ValueError, match=fix):
            loss().check_model(nn.Sequential(nn.Linear(3, 2), *tail))
    loss().check_model(nn.Sequential(nn.Linear(3, 2), last(), nn.Linear(2, 2)))
    loss().check_model(nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax()))
    loss().check_model(nn.Linear(3, 2))
    loss().check_model(nn.ModuleList())


def test_a_loss_of_the_users_own(rng):
    class Cubed(nn.Loss):
        def value_and_grad(self, pred, target, sample_weight=None):
            error = pred - target
            return float((np.abs(error) ** 3).mean()), 3 * error * np.abs(error) / error.size

    assert Cubed()(np.array([[3.0]]), np.array([[1.0]])) == 8
    assert repr(Cubed()) == "Cubed()"
    with pytest.raises(NotImplementedError, match="Loss has no value_and_grad"):
        nn.Loss()([1.0], [1.0])


def test_training_by_hand_step_by_step(rng):
    model = nn.MLP([2, 8, 2], seed=0)
    criterion = nn.CrossEntropyLoss()
    x = rng.normal(size=(64, 2)).astype("float32")
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    losses = []
    for _ in range(300):
        loss, dlogits = criterion.value_and_grad(model(x), y)
        model.backward(dlogits)
        for parameter in model.parameters():
            parameter.data -= 0.5 * parameter.grad
        model.zero_grad()
        losses.append(loss)
    assert losses[-1] < 0.3 * losses[0]
    model.task = "multiclass"
    assert (model.predict(x) == y).mean() > 0.9
