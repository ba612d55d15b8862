"""nn.Parameter: handles that follow, views that write through."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from nnrs import nn
from nnrs.nn.parameter import join


def test_values_and_gradient_are_views():
    parameter = nn.Parameter([[1.0, 2.0], [3.0, 4.0]])
    parameter.data[0, 0] = 9
    parameter.grad[1, 1] = 5
    assert parameter.data.tolist() == [[9, 2], [3, 4]]
    assert parameter.grad.tolist() == [[0, 0], [0, 5]]
    assert parameter.shape == (2, 2)
    assert parameter.size == 4
    assert parameter.ndim == 2
    assert len(parameter) == 2


def test_the_given_array_is_copied():
    array = np.ones(3)
    parameter = nn.Parameter(array)
    parameter.data[:] = 2
    assert array.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (np.ones(2, "float32"), "float32"),
        (np.ones(2), "float64"),
        ([1, 2], "float64"),
        (np.ones(2, "float16"), "float64"),
        (np.ones(2, ">f4"), "float32"),
        (np.array([True]), "float64"),
    ],
)
def test_dtype(given, dtype):
    assert nn.Parameter(given).dtype == np.dtype(dtype)


@pytest.mark.parametrize("bad", [[1j], ["a"], [None], np.array([object()], dtype=object)])
def test_what_is_no_number_is_refused(bad):
    with pytest.raises(TypeError, match="data has dtype"):
        nn.Parameter(bad)


def test_assigning_copies_and_checks_the_shape():
    parameter = nn.Parameter(np.zeros((2, 3)))
    view = parameter.data
    parameter.data = np.ones((2, 3), "float32")
    parameter.grad = [[1, 2, 3], [4, 5, 6]]
    assert view.sum() == 6
    assert parameter.grad.sum() == 21
    parameter.grad = None
    assert not parameter.grad.any()
    with pytest.raises(ValueError, match=r"data has shape \(3,\); expected \(2, 3\)"):
        parameter.data = np.zeros(3)
    with pytest.raises(TypeError, match="grad has dtype"):
        parameter.grad = np.zeros((2, 3), complex)
    assert view.sum() == 6


def test_as_an_array_it_is_its_values():
    parameter = nn.Parameter([1.0, 2.0])
    assert np.shares_memory(np.asarray(parameter), parameter.data)
    assert not np.shares_memory(np.array(parameter), parameter.data)
    assert np.asarray(parameter, dtype="float32").dtype == np.float32
    assert (np.ones(2) * parameter).tolist() == [1, 2]
    assert (parameter * np.ones(2)).tolist() == [1, 2]


def test_joining_moves_values_and_gradients_and_handles_follow():
    first, second = nn.Parameter(np.arange(3.0)), nn.Parameter(np.arange(20.0))
    first.grad = [7, 8, 9]
    detached = first.data
    flat = join([first, second])
    assert first.data.tolist() == [0, 1, 2]
    assert first.grad.tolist() == [7, 8, 9]
    assert np.shares_memory(flat.data, first.data)
    assert np.shares_memory(flat.grad, second.grad)
    detached[:] = -1
    assert first.data.tolist() == [0, 1, 2]


def test_segments_are_aligned_and_gaps_are_zero():
    parameters = [nn.Parameter(np.ones(n)) for n in (1, 16, 17, 0, 5)]
    flat = join(parameters)
    assert [p._offset for p in parameters] == [0, 16, 32, 64, 64]
    assert len(flat.data) == 80
    assert flat.data.sum() == sum(p.size for p in parameters)
    for parameter in parameters:
        assert parameter.data.size == 0 or parameter.data.ctypes.data % 64 == 0


def test_joining_what_is_joined_moves_nothing():
    parameters = [nn.Parameter([1.0]), nn.Parameter([2.0])]
    flat = join(parameters)
    view = parameters[0].data
    assert join(parameters) is flat
    assert join(parameters[:1]) is flat
    assert view is parameters[0].data


def test_joining_two_dtypes_needs_a_choice():
    parameters = [nn.Parameter(np.ones(1, "float32")), nn.Parameter(np.ones(1))]
    with pytest.raises(ValueError, match=r"float32 and float64"):
        join(parameters)
    assert join(parameters, "float32").dtype == "float32"
    assert {str(p.dtype) for p in parameters} == {"float32"}


def test_name_is_the_path_in_the_outermost_module():
    parameter = nn.Parameter([1.0])
    assert parameter.name == ""
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 3)))
    assert [p.name for p in model.parameters()] == ["0.0.weight", "0.0.bias"]
    outer = nn.Module()
    outer.net = model
    assert next(outer.parameters()).name == "net.0.0.weight"


def test_copies_and_pickles_keep_values_not_gradients():
    parameter = nn.Parameter(np.ones(2, "float32"), requires_grad=False)
    parameter.grad[:] = 3
    for twin in (copy.deepcopy(parameter), pickle.loads(pickle.dumps(parameter))):
        assert twin.data.tolist() == [1, 1]
        assert twin.dtype == np.float32
        assert not twin.requires_grad
        assert not twin.grad.any()
        twin.data[:] = 5
    assert parameter.data.tolist() == [1, 1]


def test_a_parameter_has_one_place():
    parameter = nn.Parameter([1.0])
    module = nn.Module()
    module.a = parameter
    with pytest.raises(ValueError, match=r"parameter 'b' is 'a' of a Module already.*deepcopy"):
        module.b = parameter
    module.a = nn.Parameter([2.0])
    module.b = parameter
    assert [name for name, _ in module.named_parameters()] == ["a", "b"]


def test_repr_names_it():
    layer = nn.Linear(3, 2)
    layer.weight.requires_grad = False
    assert repr(layer.weight) == "Parameter(name='weight', shape=(2, 3), dtype=float32, requires_grad=False)"
