"""nn.Module: what it registers, its modes, its state, copies; modules of the user's own."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest

from nnrs import nn


class Net(nn.Module):
    """A class for one network: what it is made of, and how it runs."""

    def __init__(self, sizes=(3, 5, 2)):
        self.layers = nn.ModuleList(nn.Linear(i, o, dtype="float64") for i, o in itertools.pairwise(sizes))
        self.activations = nn.ModuleList(nn.Tanh() for _ in sizes[2:])
        self.register_buffer("calls", np.zeros(1, "int64"))

    def forward(self, x):
        if self.training:
            self.calls[0] += 1
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number < len(self.activations):
                x = self.activations[number](x)
        return x

    def backward(self, dout):
        for number in reversed(range(len(self.layers))):
            if number < len(self.activations):
                dout = self.activations[number].backward(dout)
            dout = self.layers[number].backward(dout)
        return dout


def test_assigning_registers():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == [
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
        "layers.1.bias",
    ]
    assert [name for name, _ in net.named_children()] == ["layers", "activations"]
    assert [type(m).__name__ for m in net.children()] == ["ModuleList", "ModuleList"]
    assert [name for name, _ in net.named_modules()] == [
        "",
        "layers",
        "layers.0",
        "layers.1",
        "activations",
        "activations.0",
    ]
    assert len(list(net.modules())) == 6
    assert [name for name, _ in net.named_buffers()] == ["calls"]
    assert len(list(net.buffers())) == 1


def test_super_init_may_be_called_or_not():
    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter([1.0])

    assert len(list(Called().parameters())) == 1


def test_a_registered_name_keeps_its_kind():
    layer = nn.Linear(3, 2)
    with pytest.raises(TypeError, match=r"weight must be an nn.Parameter or None, got ndarray.*weight\.data"):
        layer.weight = np.zeros((2, 3))
    net = Net()
    with pytest.raises(TypeError, match=r"layers must be an nn.Module or None, got list"):
        net.layers = []
    net.layers = None
    assert list(net.parameters()) == []
    del net.layers
    assert not hasattr(net, "layers")
    assert [name for name, _ in net.named_children()] == ["activations"]


def test_a_name_can_change_its_kind_by_registering_anew():
    module = nn.Module()
    module.part = nn.ReLU()
    module.part = nn.Parameter([1.0])
    assert list(module.children()) == []
    assert [name for name, _ in module.named_parameters()] == ["part"]
    module.register_buffer("part", [1.0])
    assert list(module.parameters()) == []
    assert [name for name, _ in module.named_buffers()] == ["part"]


@pytest.mark.parametrize("bad", ["", "a.b"])
def test_names_of_buffers(bad):
    with pytest.raises(ValueError, match="name is"):
        nn.Module().register_buffer(bad, [1.0])
    with pytest.raises(TypeError, match="object"):
        nn.Module().register_buffer("buffer", [None])


def test_gradients_of_a_users_network(check_gradients, rng):
    check_gradients(Net(), rng.normal(size=(4, 3)))


def test_gradients_of_a_users_module_in_the_middle(check_gradients, rng, square):
    model = nn.Sequential(
        nn.Linear(3, 6, dtype="float64"), nn.Tanh(), square(6), nn.Linear(6, 2, dtype="float64"), seed=1
    )
    check_gradients(model, rng.normal(size=(5, 3)))


def test_gradients_add_up_and_zero_grad_empties_them(rng):
    net, x = Net(), rng.normal(size=(4, 3))
    for _ in range(2):
        net(x)
        net.backward(np.ones((4, 2)))
    twice = [p.grad.copy() for p in net.parameters()]
    net.zero_grad()
    assert not any(p.grad.any() for p in net.parameters())
    net(x)
    net.backward(np.ones((4, 2)))
    for parameter, two in zip(net.parameters(), twice, strict=True):
        np.testing.assert_allclose(2 * parameter.grad, two, rtol=1e-14)


def test_modes_reach_down():
    net = Net()
    assert all(m.training for m in net.modules())
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())


def test_state_goes_out_as_copies_and_comes_back():
    net, other = Net(), Net()
    state = net.state_dict()
    assert set(state) == {*(name for name, _ in net.named_parameters()), "calls"}
    state["calls"][0] = 7
    assert net.calls[0] == 0
    other.load_state_dict(state)
    assert other.calls.tolist() == [7]
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)
        assert not np.shares_memory(a.data, b.data)


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (lambda s: s.pop("layers.1.bias"), ValueError, "lacks 'layers.1.bias'"),
        (lambda s: s.update(extra=np.zeros(1)), ValueError, "'extra'"),
        (lambda s: s.update({"layers.1.bias": np.zeros(3)}), ValueError, r"layers.1.bias has shape \(3,\)"),
        (lambda s: s.update({"layers.1.bias": np.array(["a", "b"])}), TypeError, "layers.1.bias"),
        (lambda s: s.update({"layers.1.bias": np.zeros(2, complex)}), TypeError, "layers.1.bias"),
        (lambda s: s.update(calls=np.array([None])), TypeError, "calls"),
    ],
)
def test_a_wrong_state_writes_nothing(spoil, error, says):
    net = Net()
    before = net.state_dict()
    state = {name: np.asarray(array) + 1 for name, array in before.items()}
    spoil(state)
    with pytest.raises(error, match=says):
        net.load_state_dict(state)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    with pytest.raises(TypeError, match="state must be a dict"):
        net.load_state_dict([1])


def test_copies_and_pickles_run_alike_and_share_nothing(rng):
    net, x = Net(), rng.normal(size=(4, 3))
    net.task = "regression"
    twins = [
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        pickle.loads(pickle.dumps(copy.deepcopy(net))),
    ]
    for twin in twins:
        np.testing.assert_array_equal(twin(x), net(x))
        np.testing.assert_array_equal(twin.backward(np.ones((4, 2))), net.backward(np.ones((4, 2))))
        assert twin.task == "regression"
        twin.layers[0].weight.data[:] = 0
    assert net.layers[0].weight.data.any()
    with pytest.raises(TypeError, match="deepcopy"):
        copy.copy(net)


def test_a_module_has_one_place_in_one_network():
    layer = nn.Linear(3, 3)
    with pytest.raises(ValueError, match=r"used twice.*deepcopy"):
        nn.Sequential(layer, layer)
    model = nn.Sequential(layer)
    for build in (nn.Sequential, lambda m: nn.ModuleList([m])):
        with pytest.raises(ValueError, match=r"module '0' is '0' of a Sequential already.*deepcopy"):
            build(layer)
    outer = nn.Module()
    outer.model = model
    with pytest.raises(ValueError, match="already"):
        outer.layer = layer
    with pytest.raises(ValueError, match="hold itself"):
        outer.me = outer
    with pytest.raises(ValueError, match="hold itself"):
        model.append(outer)
    del outer, model
    assert nn.Sequential(layer)[0] is layer


def test_a_refused_model_takes_no_module():
    layer = nn.Linear(3, 3)
    with pytest.raises(TypeError, match=r"module 1 is a function"):
        nn.Sequential(layer, lambda x: x)
    with pytest.raises(TypeError, match=r"module 1 is a type.*not the class"):
        nn.Sequential(layer, nn.ReLU)
    assert nn.Sequential(layer)[0] is layer


def test_what_a_user_forgot_is_named():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no forward"):
        Empty()(1)
    with pytest.raises(NotImplementedError, match="Empty has no backward"):
        Empty().backward(1)


def test_what_a_users_module_returns_is_looked_at(rng):
    class Sum(nn.Module):
        def forward(self, x):
            return x

        def backward(self, dout):
            return dout.sum(1)

    class Nothing(nn.Module):
        def forward(self, x):
            return None

    x = rng.normal(size=(4, 3)).astype("float32")
    model = nn.Sequential(nn.Linear(3, 3), Sum(), nn.Linear(3, 2))
    model(x)
    with pytest.raises(
        ValueError, match=r"backward of module '1' \(Sum\) returned shape \(4,\); expected \(4, 3\)"
    ):
        model.backward(np.ones((4, 2), "float32"))
    with pytest.raises(TypeError, match=r"forward of module '1' \(Nothing\) returned NoneType"):
        nn.Sequential(nn.Linear(3, 3), Nothing())(x)


def test_a_forward_that_failed_leaves_nothing_for_backward(rng, square):
    model = nn.Sequential(nn.Linear(3, 4), square(4), nn.Linear(4, 2))
    x, dout = rng.normal(size=(5, 3)).astype("float32"), np.ones((5, 2), "float32")
    model(x)
    with pytest.raises(ValueError, match="dout"):
        model.backward(dout[:, :1])
    model.backward(dout)
    model.zero_grad()
    model(x)
    factor = model[1].factor
    model[1].factor = nn.Parameter(np.ones(3, "float32"))
    with pytest.raises(ValueError, match="broadcast"):
        model(x)
    with pytest.raises(RuntimeError, match="backward without a forward"):
        model.backward(dout)
    assert not model.flat_gradients().any()
    model[1].factor = factor
    model(x)
    model.backward(dout)


def test_backward_without_forward(square):
    for model in (nn.Sequential(nn.Linear(3, 2)), nn.Sequential(nn.Linear(3, 2), square(2)), nn.Flatten()):
        with pytest.raises(RuntimeError, match=r"backward (without|needs) a forward"):
            model.backward(np.ones((1, 2), "float32"))
        model.eval()(np.ones((1, 3), "float32"))
        with pytest.raises(RuntimeError, match=r"backward (without|needs) a forward"):
            model.backward(np.ones((1, 2), "float32"))


def test_predict_of_a_users_network_restores_its_modes(rng):
    net, x = Net(), rng.normal(size=(4, 3))
    net.task = "multiclass"
    net.layers[1].eval()
    want = net(x).argmax(1)
    calls = net.calls[0]
    np.testing.assert_array_equal(net.predict(x), want)
    np.testing.assert_array_equal(net.predict(x, batch_size=3), want)
    assert net.predict(x[0]) == want[0]
    assert net.calls[0] == calls
    assert [m.training for m in net.modules()] == [True, True, True, False, True, True]


def test_flat_views_are_all_of_it():
    net = Net()
    view = net.flat_parameters()
    view[:] = 1
    assert all((p.data == 1).all() for p in net.parameters())
    net.flat_gradients()[:] = 2
    assert all((p.grad == 2).all() for p in net.parameters())
    assert view is not net.flat_parameters()
    assert np.shares_memory(view, net.flat_parameters())


def test_repr_and_summary():
    assert repr(nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU())) == (
        "Sequential(\n  0: Linear(in_features=2, out_features=1, bias=False)\n  1: ReLU()\n)"
    )
    lines = Net().summary().splitlines()
    assert lines[-1] == "32 parameters, 0.2 KiB"
    assert any(line.startswith("layers.0 Linear") and line.endswith("20") for line in lines)
