import numpy as np
import pandas as pd
import pytest

from nnrs import nn
from nnrs.target import find_task, read_target


def read(y, task, outputs, classes=None, learn=True, dtype="float32"):
    return read_target(y, task, outputs, dtype, classes, learn=learn)


@pytest.mark.parametrize(
    ("loss", "outputs", "task"),
    [
        (nn.CrossEntropyLoss(), 3, "multiclass"),
        (nn.NLLLoss(), 2, "multiclass"),
        (nn.BCEWithLogitsLoss(), 1, "binary"),
        (nn.BCEWithLogitsLoss(), 2, "multilabel"),
        (nn.BCELoss(), 1, "binary"),
        (nn.HingeLoss(), 1, "binary"),
        (nn.PerceptronLoss(), 4, "multiclass"),
        (nn.MSELoss(), 1, "regression"),
        (nn.L1Loss(), 2, "regression"),
        (nn.HuberLoss(), 1, "regression"),
        (object(), 1, None),
    ],
)
def test_the_loss_tells_the_task(loss, outputs, task):
    assert find_task(loss, outputs) == task


def test_class_numbers_stay():
    for y in (
        [0, 2, 1],
        np.array([0, 2, 1], np.uint8),
        [0.0, 2.0, 1.0],
        [[0], [2], [1]],
        pd.Series([0, 2, 1]),
    ):
        target = read(y, "multiclass", 3)
        assert target.values.tolist() == [0, 2, 1]
        assert target.values.dtype == np.int64
        assert target.classes is None


def test_class_numbers_need_not_all_occur():
    assert read([0, 2], "multiclass", 10).classes is None


@pytest.mark.parametrize(
    ("y", "task", "outputs", "numbers", "classes"),
    [
        (["b", "a", "c", "a"], "multiclass", 3, [1, 0, 2, 0], ["a", "b", "c"]),
        (np.array(["b", "a"], object), "binary", 1, [1, 0], ["a", "b"]),
        (pd.Series(["b", "a"], dtype="category"), "binary", 2, [1, 0], ["a", "b"]),
        ([1, 3, 2, 3], "multiclass", 3, [0, 2, 1, 2], [1, 2, 3]),
        ([-1, 1, 1], "binary", 1, [0, 1, 1], [-1, 1]),
        ([-1.0, 1.0], "binary", 1, [0, 1], [-1, 1]),
        ([True, False], "binary", 1, [1, 0], None),
    ],
)
def test_labels_are_numbered_in_sorted_order(y, task, outputs, numbers, classes):
    target = read(y, task, outputs)
    assert target.numbers.tolist() == numbers
    assert target.values.tolist() == numbers
    assert target.values.dtype == (np.float32 if outputs == 1 else np.int64)
    assert (None if target.classes is None else target.classes.tolist()) == classes


def test_known_labels_are_looked_up():
    classes = np.array(["no", "yes", "maybe"])
    target = read(["yes", "maybe"], "multiclass", 3, classes, learn=False)
    assert target.numbers.tolist() == [1, 2]
    with pytest.raises(
        ValueError, match="unknown label 'perhaps' in row 1; expected one of 'no', 'yes', 'maybe'"
    ):
        read(["yes", "perhaps"], "multiclass", 3, classes)
    with pytest.raises(ValueError, match="y holds numbers; expected strings"):
        read([0, 1], "multiclass", 3, classes)


def test_rows_of_probabilities_stay():
    target = read([[0.25, 0.75], [1, 0]], "multiclass", 2, dtype="float64")
    assert target.values.tolist() == [[0.25, 0.75], [1.0, 0.0]]
    assert target.values.dtype == np.float64
    assert target.numbers.tolist() == [1, 0]


def test_probabilities_of_one_output():
    target = read([0.25, 0.75], "binary", 1)
    assert target.values.tolist() == [0.25, 0.75]
    assert target.numbers.tolist() == [0, 1]


def test_values():
    target = read([[1], [2]], "regression", 1)
    assert target.values.dtype == np.float32
    assert target.numbers is None
    assert read([[0, 1], [1, 1]], "multilabel", 2).values.tolist() == [[0, 1], [1, 1]]
    assert read([1, 2], None, 1).values.dtype == np.int64


@pytest.mark.parametrize(
    ("y", "task", "outputs", "error", "message"),
    [
        (
            [0, 1, 2, 3],
            "multiclass",
            3,
            ValueError,
            r"4 different labels \(0, 1, 2, 3\); the model has 3 outputs",
        ),
        (["a", "b"], "multiclass", 3, ValueError, "2 different labels"),
        ([0, 2, -1], "multiclass", 4, ValueError, "3 different labels"),
        ([0, 1, 2], "binary", 1, ValueError, "a binary task has 2 classes"),
        ([0.5, 1.0], "multiclass", 3, ValueError, "0.5 in row 0; expected class numbers"),
        ([0.0, np.nan], "multiclass", 3, ValueError, "nan in row 1"),
        ([0.0, np.inf], "binary", 1, ValueError, "inf in row 1"),
        ([0.5, 2.0], "binary", 1, ValueError, "0.5 in row 0"),
        (
            [[0, 1, 0]],
            "multiclass",
            2,
            ValueError,
            r"shape \(1, 3\); expected \(n,\) labels or \(n, 2\) rows",
        ),
        ([[0, 1]], "binary", 1, ValueError, r"shape \(1, 2\); expected \(n,\) labels$"),
        (3, "multiclass", 2, ValueError, r"shape \(\)"),
        (np.array([1, "a"], object), "multiclass", 2, TypeError, "y holds objects"),
        ([1j], "regression", 1, TypeError, "dtype complex128"),
        (["a"], "regression", 1, TypeError, "y holds strings; expected numbers for the task regression"),
        (["a"], None, 1, TypeError, "for this loss"),
    ],
)
def test_what_does_not_fit(y, task, outputs, error, message):
    with pytest.raises(error, match=message):
        read(y, task, outputs)


def test_labels_are_not_learned_unasked():
    with pytest.raises(ValueError, match="label 'a'; expected class numbers 0 to 1"):
        read(["a", "b"], "multiclass", 2, learn=False)
    with pytest.raises(ValueError, match="label 7; expected class numbers 0 to 1"):
        read([0, 7], "multiclass", 2, learn=False)
