import numpy as np
import pytest

from nnrs import nn
from nnrs.criterion import Criterion, class_factors

PRED = np.array([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]])


class Own:
    def value_and_grad(self, pred, target):
        return np.float32(2.0), pred


def test_own_losses_weigh_rows():
    criterion = Criterion(Own())
    assert criterion.core is None
    assert criterion.value(PRED, np.zeros(2), None) == 2.0
    assert type(criterion.value(PRED, np.zeros(2), None)) is float
    assert criterion.weigh(np.zeros(2), None) == 2.0
    assert criterion.weigh(np.zeros(2), np.array([0.5, 2.0])) == 2.5


def test_weights_of_classes_are_settled_once():
    y = np.array([0, 0, 0, 1, 1, 2])
    criterion = Criterion(nn.CrossEntropyLoss("balanced"), y, 3)
    fixed = nn.CrossEntropyLoss([6 / 9, 1.0, 2.0])
    labels = np.array([0, 2])
    assert criterion.value(PRED, labels, None) == pytest.approx(fixed(PRED, labels))
    assert criterion.weigh(labels, None) == pytest.approx(6 / 9 + 2)
    assert criterion.weigh(labels, np.array([3.0, 0.5])) == pytest.approx(3 * 6 / 9 + 1)


def test_a_dict_goes_by_labels():
    criterion = Criterion(nn.CrossEntropyLoss({"b": 5.0}), None, 3, np.array(["a", "b", "c"]))
    assert criterion.weigh(np.array([0, 1, 1]), None) == 11.0


def test_the_mean_over_batches_is_the_mean_over_rows():
    y = np.array([1, 2])
    criterion = Criterion(nn.CrossEntropyLoss([1.0, 2.0, 5.0]))
    whole = criterion.value(PRED, y, None)
    parts = [criterion.value(PRED[i : i + 1], y[i : i + 1], None) for i in range(2)]
    weights = [criterion.weigh(y[i : i + 1], None) for i in range(2)]
    assert np.dot(parts, weights) / sum(weights) == pytest.approx(whole)


def test_factors_of_mixed_rows():
    weight = np.array([1.0, 3.0])
    assert class_factors(weight, np.array([[1], [0]])).tolist() == [3.0, 1.0]
    assert class_factors(weight, np.array([[0.5, 0.5]])).tolist() == [2.0]
