"""Models to torch and back: the same outputs, gradients, names, modes; and what has no counterpart."""

from __future__ import annotations

import io
from collections import OrderedDict

import numpy as np
import pytest
from every_layer import LAYERS, inputs

torch = pytest.importorskip("torch")

import nnrs.torch  # noqa: E402
from nnrs import nn  # noqa: E402


def outputs(module, x):
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


def kinds(model):
    return [type(layer).__name__ for layer in model]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer(name, dtype):
    model = nn.Sequential(
        nn.Linear(4, 6, dtype=dtype), LAYERS[name](), nn.Linear(6, 3, bias=False, dtype=dtype), seed=0
    ).eval()
    module = nnrs.torch.to_torch(model)
    assert type(module) is torch.nn.Sequential
    assert not module.training
    state = model.state_dict()
    assert list(module.state_dict()) == list(state)
    for path, tensor in module.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), state[path])
    x = inputs(dtype)
    tolerance = 1e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(outputs(module, x), model(x), rtol=4 * tolerance, atol=tolerance)
    back = nnrs.torch.from_torch(module)
    assert kinds(back) == kinds(model)
    assert [layer.config() for layer in back] == [layer.config() for layer in model]
    assert not back.training
    assert back.dtype == dtype
    np.testing.assert_array_equal(back(x), model(x))


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in ("step", "dropout")])
def test_gradients_agree(name):
    model = nn.Sequential(nn.Linear(4, 6, dtype="float64"), LAYERS[name](), seed=0)
    module = nnrs.torch.to_torch(model)
    x = inputs("float64")
    dout = np.random.default_rng(1).normal(size=(9, 6))
    model(x)
    dx = model.backward(dout)
    tensor = torch.from_numpy(x).requires_grad_()
    module(tensor).backward(torch.from_numpy(dout))
    np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=1e-10, atol=1e-12)
    for mine, other in zip(model.parameters(), module.parameters(), strict=True):
        np.testing.assert_allclose(mine.grad, other.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [nn.Standardize, nn.MinMaxScale])
def test_scalers(kind, dtype):
    x = inputs(dtype)
    x[:, 2] = 7.0
    scaler = kind()
    scaler.learn(x)
    model = nn.Sequential(scaler, nn.Linear(4, 3, dtype=dtype), seed=0).eval()
    module = nnrs.torch.to_torch(model)
    assert list(module.state_dict()) == list(model.state_dict())
    assert module[0].scale.dtype == torch.float64
    np.testing.assert_allclose(outputs(module, x), model(x), rtol=1e-5, atol=1e-6)
    back = nnrs.torch.from_torch(module)
    assert isinstance(back[0], kind)
    np.testing.assert_array_equal(back[0].scale, scaler.scale)
    np.testing.assert_array_equal(back(x), model(x))


def test_a_converted_module_is_saved_whole_by_torch():
    scaler = nn.Standardize()
    scaler.learn(inputs())
    module = nnrs.torch.to_torch(nn.Sequential(scaler, nn.Linear(4, 3), nn.Step(), seed=0).eval())
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    np.testing.assert_array_equal(outputs(again, inputs()), outputs(module, inputs()))


def test_nan_goes_through_a_step_as_in_nnrs():
    x = np.array([[-1.0, 0.0, np.nan, np.inf]], "float32")
    model = nn.Sequential(nn.Step()).eval()
    np.testing.assert_array_equal(outputs(nnrs.torch.to_torch(model), x), model(x))


def test_nested_models_modes_and_frozen_parameters():
    inner = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.Sequential(nn.Tanh()))
    model = nn.Sequential(nn.Linear(4, 8), inner, seed=0)
    model[0].weight.requires_grad = False
    inner[1].eval()
    module = nnrs.torch.to_torch(model)
    assert list(module.state_dict()) == ["0.weight", "0.bias", "1.0.weight", "1.0.bias"]
    wanted = {name: part.training for name, part in model.named_modules()}
    assert {name: part.training for name, part in module.named_modules()} == wanted
    assert sum(wanted.values()) == len(wanted) - 1
    back = nnrs.torch.from_torch(module)
    assert {name: part.training for name, part in back.named_modules()} == wanted
    for some in (module, back):
        assert [p.requires_grad for p in some.parameters()] == [False, True, True, True]


def test_weights_are_copies():
    model = nn.Sequential(nn.Linear(4, 3), seed=0)
    module = nnrs.torch.to_torch(model)
    back = nnrs.torch.from_torch(module)
    before = model[0].weight.data.copy()
    with torch.no_grad():
        module[0].weight.zero_()
    np.testing.assert_array_equal(model[0].weight.data, before)
    np.testing.assert_array_equal(back[0].weight.data, before)


def test_conversion_draws_nothing_from_torch():
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    nnrs.torch.from_torch(nnrs.torch.to_torch(nn.MLP([4, 8, 3], seed=0)))
    assert torch.equal(torch.rand(3), wanted)


def test_named_children_single_layers_and_subclasses():
    class Head(torch.nn.Sequential):
        pass

    module = torch.nn.Sequential(
        OrderedDict(
            first=torch.nn.Linear(4, 6), act=torch.nn.ReLU(inplace=True), head=Head(torch.nn.Linear(6, 3))
        )
    )
    back = nnrs.torch.from_torch(module)
    assert list(back.state_dict()) == ["0.weight", "0.bias", "2.0.weight", "2.0.bias"]
    x = inputs()
    np.testing.assert_allclose(back.eval()(x), outputs(module, x), rtol=1e-5, atol=1e-6)
    assert kinds(nnrs.torch.from_torch(torch.nn.Linear(4, 3))) == ["Linear"]


def shared_module():
    layer = torch.nn.Linear(3, 3)
    return torch.nn.Sequential(layer, torch.nn.ReLU(), layer)


def shared_weight():
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    module[1].weight = module[0].weight
    return module


def hooked():
    module = torch.nn.Sequential(torch.nn.Linear(3, 3))
    module[0].register_forward_hook(lambda *arguments: 2 * arguments[2])
    return module


class MyLinear(torch.nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class MySequential(torch.nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1)),
            r"layer '0' \(Conv2d\) has no counterpart.*Linear",
        ),
        (lambda: torch.nn.Sequential(torch.nn.Sequential(torch.nn.ReLU6())), r"layer '0\.0' \(ReLU6\)"),
        (lambda: MyLinear(3, 3), r"layer '0' \(MyLinear\) has no counterpart"),
        (lambda: MySequential(torch.nn.ReLU()), r"layer '0' \(MySequential\) has no counterpart"),
        (shared_module, r"'2' is '0' again; expected no sharing: copy\.deepcopy"),
        (shared_weight, r"'1\.weight' is '0\.weight' again"),
        (hooked, r"layer '0' \(Linear\) has hooks"),
        (lambda: torch.nn.Linear(3, 3).half(), r"'0\.weight' has dtype torch\.float16; expected float32"),
        (
            lambda: torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3).double()),
            r"'0\.weight' has dtype float32 and '1\.weight' float64; expected one dtype",
        ),
        (lambda: torch.nn.Softmax(dim=0), r"layer '0' \(Softmax\): dim is 0; expected -1 or 1"),
        (lambda: torch.nn.Softmax(), "dim is None"),
        (lambda: torch.nn.Softplus(threshold=2), "threshold is 2; expected 20 or more"),
        (lambda: torch.nn.Flatten(0), "start_dim is 0, end_dim -1; expected 1 and -1"),
        (lambda: torch.nn.Dropout(1.0), r"layer '0' \(Dropout\): p is 1\.0"),
        (
            lambda: torch.nn.Linear(3, 3, device="meta"),
            r"layer '0' \(Linear\): its weight is on the meta device",
        ),
    ],
)
def test_from_torch_refuses(build, message):
    with pytest.raises(ValueError, match=message):
        nnrs.torch.from_torch(build())


class Own(nn.Module):
    def forward(self, x):
        return x

    def backward(self, dout):
        return dout


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.Sequential(nn.ReLU(), Own()), r"layer '1' \(Own\) has no counterpart in torch.*Linear"),
        (lambda: nn.Sequential(nn.Standardize()), r"layer '0' \(Standardize\) has not learned"),
    ],
)
def test_to_torch_refuses(build, message):
    with pytest.raises(ValueError, match=message):
        nnrs.torch.to_torch(build())


def test_other_types_are_refused():
    with pytest.raises(TypeError, match=r"model is a Linear; expected an nn\.Sequential"):
        nnrs.torch.to_torch(nn.Linear(3, 3))
    with pytest.raises(TypeError, match=r"module is a MLP; expected a torch\.nn\.Module"):
        nnrs.torch.from_torch(nn.MLP([3, 3]))
