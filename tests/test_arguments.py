import numpy as np
import pytest

from nnrs.arguments import check_choice, check_int, check_number, check_sample_weight


def test_int():
    assert check_int("n", np.int16(3), 1) == 3
    assert type(check_int("n", np.int16(3), 1)) is int
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        check_int("n", 0, 1)
    for large in (2**63, np.uint64(2**63), 2**70):
        with pytest.raises(ValueError, match=rf"n must be below 2\*\*63, got {large}"):
            check_int("n", large, 1)
    assert check_int("n", 2**63 - 1, 1) == 2**63 - 1
    for wrong in (1.0, "1", None, True):
        with pytest.raises(TypeError, match=f"n must be an int, got {type(wrong).__name__}"):
            check_int("n", wrong, 1)


def test_number():
    assert check_number("lr", np.float32(0.5)) == 0.5
    assert check_number("lr", 0) == 0.0
    assert check_number("beta", 0.5, below=1) == 0.5
    for value, bounds, message in (
        (-1, {}, "lr must be finite and at least 0, got -1"),
        (float("nan"), {}, "at least 0, got nan"),
        (float("inf"), {}, "must be finite"),
        (0, {"above": 0}, "more than 0, got 0"),
        (1, {"below": 1}, "at least 0 and less than 1, got 1"),
        (0, {"above": 0, "none": True}, "more than 0 or None"),
    ):
        with pytest.raises(ValueError, match=message):
            check_number("lr", value, **bounds)
    for wrong in ("1", None, True, [1]):
        with pytest.raises(TypeError, match="lr must be a number, got"):
            check_number("lr", wrong)


def test_choice():
    assert check_choice("mode", "min", ("min", "max")) == "min"
    for wrong in ("other", None, 3, []):
        with pytest.raises(ValueError, match="mode must be one of 'min', 'max', got"):
            check_choice("mode", wrong, ("min", "max"))


def test_sample_weight():
    np.testing.assert_array_equal(check_sample_weight([[1], [0]], 2), [1.0, 0.0])
    assert check_sample_weight([], 0).shape == (0,)
    for wrong, message in (
        ([1.0], r"w has shape \(1,\); expected \(2,\)"),
        ([1, -1], "negative"),
        ([1, np.nan], "NaN"),
        ([1, np.inf], "infinite"),
        ([0, 0], "zero everywhere"),
    ):
        with pytest.raises(ValueError, match=message):
            check_sample_weight(wrong, 2, "w")
    with pytest.raises(TypeError, match="expected real numbers"):
        check_sample_weight(["a", "b"], 2)
