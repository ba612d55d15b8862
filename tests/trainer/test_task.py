import numpy as np
import pandas as pd
import pytest

from nnrs import nn


def test_strings_are_kept_as_classes(table, trainer_of, assert_same):
    x, y = table()
    names = np.array(["ant", "bee", "cow"])
    one, two = trainer_of(), trainer_of()
    one.fit(x, names[y], epochs=5, validation_data=(x, names[y]), metrics=["accuracy"])
    two.fit(x, y, epochs=5, validation_data=(x, y), metrics=["accuracy"])
    assert_same(one, two)
    assert one.model.task == "multiclass"
    assert one.model.classes_.tolist() == names.tolist()
    assert two.model.classes_ is None
    np.testing.assert_array_equal(one.model.predict(x), names[two.model.predict(x)])
    assert one.evaluate(x, names[y]) == two.evaluate(x, y)
    one.step(x, names[y])
    two.step(x, y)
    assert_same(one, two)
    with pytest.raises(ValueError, match="unknown label 'dog'"):
        one.evaluate(x[:1], ["dog"])
    with pytest.raises(ValueError, match="unknown label 'dog'"):
        one.step(x[:1], ["dog"])


def test_labels_of_minus_one_and_one(table, network, trainer_of):
    x, y = table(classes=2)
    for loss in (nn.HingeLoss(), nn.BCEWithLogitsLoss(), nn.PerceptronLoss()):
        trainer = trainer_of(network(outputs=1), loss)
        trainer.fit(x, 2 * y - 1, epochs=20, metrics=["accuracy"], train_metrics=True)
        assert trainer.model.task == "binary"
        assert trainer.model.classes_.tolist() == [-1, 1]
        assert set(trainer.model.predict(x)) == {-1, 1}
        assert trainer.history.epochs[-1]["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("loss", "outputs", "y", "task"),
    [
        (nn.CrossEntropyLoss(), 3, lambda y: y, "multiclass"),
        (nn.CrossEntropyLoss(), 3, lambda y: np.eye(3)[y] * 0.8 + 0.2 / 3, "multiclass"),
        (nn.BCEWithLogitsLoss(), 1, lambda y: y > 0, "binary"),
        (nn.BCEWithLogitsLoss(), 1, lambda y: (y > 0) * 0.5 + 0.25, "binary"),
        (nn.BCEWithLogitsLoss(), 3, lambda y: np.eye(3)[y], "multilabel"),
        (nn.HingeLoss(), 3, lambda y: y, "multiclass"),
        (nn.MSELoss(), 1, lambda y: y[:, None] / 2, "regression"),
        (nn.L1Loss(), 3, lambda y: np.eye(3)[y], "regression"),
    ],
)
def test_the_loss_finds_the_task(loss, outputs, y, task, table, network, trainer_of):
    x, labels = table()
    trainer = trainer_of(network(outputs=outputs), loss)
    trainer.fit(x, y(labels), epochs=30, validation_split=0.2)
    assert trainer.model.task == task
    assert trainer.history.epochs[-1]["loss"] < trainer.history.epochs[0]["loss"]
    shape = (60,) if task in ("multiclass", "binary") or outputs == 1 else (60, outputs)
    assert trainer.model.predict(x).shape == shape


def test_a_task_set_by_hand_stays(table, network, trainer_of):
    x, y = table()
    model = network()
    model.task = "multiclass"
    trainer = trainer_of(model, nn.MSELoss())
    trainer.fit(x, np.eye(3)[y], epochs=20, metrics=["accuracy"], train_metrics=True)
    assert model.task == "multiclass"
    assert trainer.history.epochs[-1]["accuracy"] > 0.6


def test_a_step_sets_the_task(table, trainer_of):
    x, y = table()
    trainer = trainer_of()
    trainer.step(x, y)
    assert trainer.model.task == "multiclass"


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ([0, 1, 2, 3] * 15, ValueError, "4 different labels"),
        ([0.5, 1] * 30, ValueError, "0.5 in row 0"),
        ([-1, 5] * 30, ValueError, "2 different labels"),
        (np.array([1, "a"] * 30, object), TypeError, "y holds objects"),
        ([0] * 59, ValueError, "y has 59 rows; expected 60"),
        (np.zeros((60, 2)), ValueError, r"y has shape \(60, 2\)"),
    ],
)
def test_wrong_targets_train_nothing(y, error, message, table, trainer_of):
    x, _ = table()
    trainer = trainer_of(nn.Sequential(nn.Standardize(), nn.Linear(5, 3), seed=0))
    with pytest.raises(error, match=message):
        trainer.fit(x, y, epochs=1)
    assert trainer.global_step == 0
    assert not trainer.model[0].fitted
    assert trainer.model.task is None
    assert trainer.model.classes_ is None


def test_metrics_of_training_and_validation(table, trainer_of):
    x, y = table()

    def share_right(y_true, y_pred):
        return np.mean(y_true == y_pred)

    trainer = trainer_of()
    history = trainer.fit(
        x[:40],
        y[:40],
        epochs=2,
        validation_data=(x[40:], y[40:]),
        metrics=["accuracy", share_right],
        train_metrics=True,
    )
    assert list(history.epochs[0]) == [
        "epoch", "loss", "accuracy", "share_right", "val_loss", "val_accuracy", "val_share_right", "seconds",
    ]  # fmt: skip
    last = history.epochs[-1]
    assert last["accuracy"] == last["share_right"] == np.mean(trainer.model.predict(x[:40]) == y[:40])
    assert last["val_accuracy"] == np.mean(trainer.model.predict(x[40:]) == y[40:])
    assert trainer.evaluate(x[40:], y[40:]) == {
        "loss": last["val_loss"],
        "accuracy": last["val_accuracy"],
        "share_right": last["val_share_right"],
    }
    assert list(trainer.evaluate(x, y, metrics=["log_loss"])) == ["loss", "log_loss"]
    weights = np.linspace(0, 1, 60)
    weighted = trainer.evaluate(x, y, weights)
    assert weighted["loss"] == pytest.approx(
        nn.CrossEntropyLoss()(trainer.model.eval()(x), y, weights), rel=1e-6
    )


def test_log_loss_is_the_cross_entropy(table, trainer_of):
    x, y = table()
    trainer = trainer_of()
    found = trainer.evaluate(x, y, metrics=["log_loss"])
    assert found["log_loss"] == pytest.approx(found["loss"], rel=1e-5)


def test_evaluate_refuses(table, trainer_of):
    x, y = table()
    trainer = trainer_of()
    with pytest.raises(ValueError, match="y has 59 rows; expected 60"):
        trainer.evaluate(x, y[1:])
    with pytest.raises(ValueError, match=r"'mse'.*'multiclass'"):
        trainer.evaluate(x, y, metrics=["mse"])
    with pytest.raises(ValueError, match="sample_weight has shape"):
        trainer.evaluate(x, y, [1.0])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1"),
        ({"epochs": 1.5}, TypeError, "epochs must be an int"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"metrics": ["f2"]}, ValueError, "metrics has 'f2'"),
        ({"metrics": ["r2"]}, ValueError, "metrics has 'r2'.*'multiclass'"),
        ({"callbacks": [print]}, TypeError, "callbacks holds a builtin_function_or_method"),
    ],
)
def test_wrong_arguments_of_fit(arguments, error, message, table, trainer_of):
    x, y = table()
    with pytest.raises(error, match=message):
        trainer_of().fit(x, y, **{"epochs": 1, **arguments})


def test_wrong_features(table, trainer_of):
    x, y = table()
    for given, error, message in (
        (x[:, :4], ValueError, "x has shape"),
        (x[:0], ValueError, "x has no rows"),
        (x[0], ValueError, r"x has shape \(5,\); expected \(batch, features\)"),
        (x.astype(object), TypeError, "dtype object"),
        (x.astype(complex), TypeError, "dtype complex"),
        (x.astype(str), TypeError, "dtype <U"),
    ):
        trainer = trainer_of()
        with pytest.raises(error, match=message):
            trainer.fit(given, y[: len(given)], epochs=1)
        assert trainer.global_step == 0
    with pytest.raises(TypeError, match="y is missing"):
        trainer_of().fit(x, epochs=1)
    with pytest.raises(TypeError, match="y is missing"):
        trainer_of().fit(pd.DataFrame(x), epochs=1)
