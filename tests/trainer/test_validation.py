import math

import numpy as np
import pytest

import nnrs
from nnrs import nn
from nnrs.data.split import split_rows


def test_a_split_takes_its_rows_out_of_training(table, trainer_of, assert_same):
    x, y = table()
    rows, held_out = (np.sort(part) for part in split_rows(60, 15, seed=7, stratify=y))
    one, two = trainer_of(), trainer_of()
    one.fit(x, y, epochs=3, validation_split=0.25, metrics=["accuracy"])
    two.fit(x[rows], y[rows], epochs=3, validation_data=(x[held_out], y[held_out]), metrics=["accuracy"])
    assert_same(one, two)
    for a, b in zip(one.history.epochs, two.history.epochs, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}
    assert np.bincount(y[held_out]).tolist() == pytest.approx(np.bincount(y) / 4, abs=1)


def test_a_second_fit_holds_out_the_same_rows(table, trainer_of):
    x, y = table()
    trainer = trainer_of(nn.Sequential(nn.Standardize(), nn.Linear(5, 3), seed=0))
    trainer.fit(x, y, epochs=1, validation_split=0.25)
    seen = trainer.model[0].mean.copy()
    trainer.fit(x, y, epochs=1, validation_split=0.25, refit_scalers=True)
    np.testing.assert_array_equal(trainer.model[0].mean, seen)


@pytest.mark.parametrize("form", ["strings", "one-hot"])
def test_splits_are_stratified_for_all_forms_of_classes(form, table, trainer_of):
    y = np.repeat([0, 1, 2], [40, 12, 8])
    given = np.array(["a", "b", "c"])[y] if form == "strings" else np.eye(3)[y]
    seen = []

    def count(y_true, y_pred):
        seen.append(np.unique(y_true, return_counts=True)[1].tolist())
        return 0.0

    x, _ = table()
    trainer_of().fit(x, given, epochs=1, validation_split=0.25, metrics=[count])
    assert seen == [[10, 3, 2]]


def test_a_class_of_one_row_stays_with_the_training(table, trainer_of):
    x, y = table()
    y = np.where(np.arange(60) == 30, 2, np.arange(60) % 2)
    trainer_of().fit(x, y, epochs=1, validation_split=0.1)


def test_validation_weighs_samples_but_not_classes(table, trainer_of):
    x, y = table()
    weights = np.linspace(0.5, 2, 60)
    trainer = trainer_of()
    trainer.fit(x, y, epochs=1, validation_data=(x, y, weights), class_weight=[1, 2, 3], metrics=["accuracy"])
    outputs = trainer.model.eval()(x)
    logs = trainer.history.epochs[0]
    assert logs["val_loss"] == pytest.approx(nn.CrossEntropyLoss()(outputs, y, weights), rel=1e-6)
    assert logs["val_accuracy"] == pytest.approx(
        nnrs.metrics.accuracy(y, outputs.argmax(axis=1), sample_weight=weights)
    )


def test_validation_of_many_rows_goes_block_by_block(monkeypatch, table, trainer_of, core_calls):
    import nnrs.backend
    import nnrs.preparation

    x, y = table()
    whole = trainer_of()
    whole.fit(x, y, epochs=2, validation_split=0.5, train_metrics=True, metrics=["log_loss"])
    monkeypatch.setattr(nnrs.preparation, "_GATHERED_BYTES", 100)
    monkeypatch.setattr(nnrs.backend, "_BLOCK_BYTES", 8 * 5 * 7)
    parts = trainer_of()
    names = core_calls(
        lambda: parts.fit(x, y, epochs=2, validation_split=0.5, train_metrics=True, metrics=["log_loss"])
    )
    assert names.count("predict") == 2 * 2 * math.ceil(30 / 7)
    for a, b in zip(whole.history.epochs, parts.history.epochs, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"validation_split": 0.5, "validation_data": (0, 0)}, ValueError, "both given"),
        ({"validation_split": 1.0}, ValueError, "validation_split=1.0"),
        ({"validation_split": -0.5}, ValueError, "validation_split=-0.5"),
        ({"validation_split": "half"}, TypeError, "validation_split must be a float"),
        ({"validation_data": 3}, TypeError, "validation_data must be"),
        ({"validation_data": (np.zeros((2, 4)), [0, 1])}, ValueError, r"expected \(n, 5\)"),
        ({"validation_data": (np.zeros((2, 5)), [0])}, ValueError, "2 rows of x and 1 of y"),
        ({"validation_data": (np.zeros((0, 5)), [])}, ValueError, "0 rows"),
        ({"validation_data": (np.zeros((2, 5)), [0, 3])}, ValueError, "label 3"),
        (
            {"validation_data": (np.zeros((2, 5)), [0, 1], [1])},
            ValueError,
            "weights of validation_data has shape",
        ),
    ],
)
def test_wrong_validation(arguments, error, message, table, trainer_of):
    x, y = table()
    trainer = trainer_of()
    with pytest.raises(error, match=message):
        trainer.fit(x, y, epochs=1, **arguments)
    assert trainer.global_step == 0


def test_validation_has_as_many_values_a_row(table, network, trainer_of):
    x, _ = table()
    trainer = trainer_of(network(outputs=1), nn.MSELoss())
    with pytest.raises(ValueError, match="y of validation_data has 2 values a row; expected 1, as y"):
        trainer.fit(x, x[:, 0], epochs=1, validation_data=(x, x[:, :2]))
    trainer.fit(x, x[:, 0], epochs=1, validation_data=(x, x[:, :1]))


def test_scalers_learn_once_from_the_training_rows(table, trainer_of):
    x, y = table()
    x = x * 3 + 5
    trainer = trainer_of(nn.Sequential(nn.Standardize(), nn.Linear(5, 3), seed=0))
    rows, _ = split_rows(60, 15, seed=7, stratify=y)
    trainer.fit(x, y, epochs=1, validation_split=15)
    scaler = trainer.model[0]
    np.testing.assert_allclose(scaler.mean, x[rows].astype("float64").mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaler.scale, x[rows].astype("float64").std(axis=0), rtol=1e-12)
    before = scaler.mean.copy()
    trainer.fit(x + 100, y, epochs=1)
    np.testing.assert_array_equal(scaler.mean, before)
    trainer.fit(x + 100, y, epochs=1, refit_scalers=True)
    np.testing.assert_allclose(scaler.mean, (x + 100).astype("float64").mean(axis=0), rtol=1e-6)


def test_scalers_fitted_by_hand_stay(table, trainer_of):
    x, y = table()
    model = nn.Sequential(nn.MinMaxScale(), nn.Linear(5, 3), seed=0)
    model.fit_scalers(x * 10)
    before = model[0].scale.copy()
    trainer_of(model).fit(x, y, epochs=1)
    np.testing.assert_array_equal(model[0].scale, before)


def test_unfitted_scalers_name_the_way_out(table, trainer_of):
    x, y = table()
    model = nn.Sequential(nn.Standardize(), nn.Linear(5, 3), seed=0)
    for run in (
        lambda trainer: trainer.step(x, y),
        lambda trainer: trainer.fit([(x, y)], epochs=1),
        lambda trainer: trainer.evaluate(x, y),
    ):
        with pytest.raises(ValueError, match="fit_scalers"):
            run(trainer_of(model))
    model.fit_scalers(x)
    trainer_of(model).fit([(x, y)], epochs=1)
