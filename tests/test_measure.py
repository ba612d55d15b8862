import numpy as np
import pytest

from nnrs import metrics, nn
from nnrs.measure import Measures
from nnrs.target import Target, read_target

LOGITS = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]])


def measure(names, outputs, target, task, weights=None, model=None):
    return Measures(names).measure(model or nn.Identity(), task, outputs, target, weights)


def test_named_metrics_of_classes():
    target = read_target([0, 1, 1], "multiclass", 2, "float64", None)
    found = measure(["accuracy", "log_loss", "likelihood"], LOGITS, target, "multiclass")
    proba = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["log_loss"] == pytest.approx(metrics.log_loss([0, 1, 1], proba))
    assert found["likelihood"] == pytest.approx(metrics.likelihood([0, 1, 1], proba))
    weighted = measure(["accuracy"], LOGITS, target, "multiclass", np.array([1.0, 1.0, 2.0]))
    assert weighted["accuracy"] == 0.5


def test_softmax_is_not_applied_twice():
    target = read_target([0], "multiclass", 2, "float64", None)
    proba = np.array([[0.9, 0.1]])
    assert measure(["log_loss"], proba, target, "multiclass", model=nn.Softmax())[
        "log_loss"
    ] == pytest.approx(-np.log(0.9))


def test_functions_get_labels_as_predict_gives_them():
    seen = []

    def share_of_yes(y_true, y_pred):
        seen.append((y_true.tolist(), y_pred.tolist()))
        return np.mean(y_pred == "yes")

    target = read_target(["no", "yes", "yes"], "multiclass", 2, "float64", None, learn=True)
    assert measure([share_of_yes], LOGITS, target, "multiclass") == {"share_of_yes": pytest.approx(1 / 3)}
    assert seen == [(["no", "yes", "yes"], ["no", "yes", "no"])]


def test_values_and_columns():
    target = Target(np.array([[1.0], [2.0]]), False, None)
    found = measure([metrics.mse, "mae", "r2"], np.array([[1.0], [4.0]]), target, "regression")
    assert found == {"mse": 2.0, "mae": 1.0, "r2": pytest.approx(-7.0)}


def test_labels_apart():
    target = read_target([[0, 1], [1, 1]], "multilabel", 2, "float64", None)
    outputs = np.array([[-1.0, 2.0], [3.0, -1.0]])
    assert measure(["accuracy"], outputs, target, "multilabel") == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["precision"], ValueError, "metrics has 'precision'; expected a function or one of accuracy"),
        (["accuracy", metrics.accuracy], ValueError, "'accuracy' twice"),
        ([3], TypeError, "metrics holds a int"),
    ],
)
def test_wrong_metrics(names, error, message):
    with pytest.raises(error, match=message):
        Measures(names)


def test_a_single_name_will_do():
    assert Measures("accuracy").names == ["accuracy"]
    assert Measures(lambda *_: 0.0).names == ["metric"]


def test_metrics_go_with_tasks():
    for name, task in (("accuracy", "regression"), ("mse", "multiclass"), ("log_loss", "regression")):
        with pytest.raises(ValueError, match=f"metrics has '{name}'.*the model's task is '{task}'"):
            Measures([name]).check(task)
    with pytest.raises(ValueError, match="no task"):
        Measures(["accuracy"]).check(None)
    Measures([]).check(None)
