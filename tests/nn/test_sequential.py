"""nn.Sequential, nn.MLP, nn.ModuleList: whole networks, compiled and mixed."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

from nnrs import nn


def small(seed=0, dtype="float64"):
    return nn.Sequential(
        nn.Linear(4, 7),
        nn.Tanh(),
        nn.Sequential(nn.Linear(7, 5), nn.Sigmoid()),
        nn.Linear(5, 3),
        seed=seed,
        dtype=dtype,
    )


def reference(model, x):
    """Outputs by NumPy in float64, and the gradients of Σ cos(i)·outᵢ by hand."""
    weights = [p.data.astype("float64") for p in model.parameters()]
    h1 = np.tanh(x @ weights[0].T + weights[1])
    h2 = 1 / (1 + np.exp(-(h1 @ weights[2].T + weights[3])))
    out = h2 @ weights[4].T + weights[5]
    d3 = np.cos(np.arange(out.size)).reshape(out.shape)
    d2 = (d3 @ weights[4]) * h2 * (1 - h2)
    d1 = (d2 @ weights[2]) * (1 - h1**2)
    grads = [d1.T @ x, d1.sum(0), d2.T @ h1, d2.sum(0), d3.T @ h2, d3.sum(0)]
    return out, d3, grads, d1 @ weights[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 2, 17, 300])
def test_forward_and_backward_against_numpy(dtype, rows, rng):
    model = small(dtype=dtype)
    x = rng.normal(size=(rows, 4)).astype(dtype)
    out, dout, grads, dx = reference(model, x.astype("float64"))
    tolerance = {"rtol": 2e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-12}
    np.testing.assert_allclose(model(x), out, **tolerance)
    np.testing.assert_allclose(model.backward(dout.astype(dtype)), dx, **tolerance)
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        np.testing.assert_allclose(parameter.grad, grad, **tolerance)


def test_gradients_of_whole_networks_against_differences(check_gradients, rng):
    check_gradients(small(), rng.normal(size=(5, 4)))
    check_gradients(small(), rng.normal(size=4))
    model = nn.MLP([4, 6, 6, 2], activation="gelu", seed=2, dtype="float64")
    check_gradients(model, rng.normal(size=(3, 4)))
    scaled = nn.Sequential(
        nn.Standardize(), nn.Linear(4, 5), nn.SiLU(), nn.Linear(5, 2), seed=1, dtype="float64"
    )
    scaled.fit_scalers(3 + 2 * rng.normal(size=(20, 4)))
    check_gradients(scaled, rng.normal(size=(6, 4)))


def test_one_row_is_a_row_and_no_rows_are_none(rng):
    model = small().eval()
    x = rng.normal(size=(5, 4))
    np.testing.assert_array_equal(model(x[2]), model(x)[2])
    assert model(x[:0]).shape == (0, 3)
    model.train()
    assert model(x[:0]).shape == (0, 3)
    assert model.backward(np.zeros((0, 3))).shape == (0, 4)
    assert not model.flat_gradients().any()
    assert model(x[2]).shape == (3,)
    assert model.backward(np.ones(3)).shape == (4,)


def test_results_are_fresh(rng):
    model, x = small(), rng.normal(size=(5, 4))
    first = model(x)
    kept = first.copy()
    second = model(x + 1)
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)
    dx = model.backward(np.ones((5, 3)))
    assert not np.shares_memory(dx, x)


def test_memory_may_lie_as_it_likes(rng):
    model = small().eval()
    x = rng.normal(size=(9, 4))
    want = model(x)
    wide = rng.normal(size=(18, 12))
    wide[::2, 1::3] = x
    for view in (np.asfortranarray(x), wide[::2, 1::3], x[::-1].copy()[::-1], x[:, ::-1].copy()[:, ::-1]):
        np.testing.assert_array_equal(model(view), want)


def test_parameters_are_one_buffer_in_their_order():
    model = small()
    flat = model.flat_parameters()
    for parameter in model.parameters():
        assert np.shares_memory(flat, parameter.data)
        assert np.shares_memory(model.flat_gradients(), parameter.grad)
    names = [name for name, _ in model.named_parameters()]
    assert names == ["0.weight", "0.bias", "2.0.weight", "2.0.bias", "3.weight", "3.bias"]
    offsets = [p._offset for p in model.parameters()]
    assert offsets == sorted(offsets)
    assert all(offset % 16 == 0 for offset in offsets)
    used = np.zeros(len(flat), bool)
    for parameter in model.parameters():
        used[parameter._offset : parameter._offset + parameter.size] = True
    assert not flat[~used].any()


def test_building_moves_children_and_handles_follow():
    layer = nn.Linear(3, 2)
    handle, before = layer.weight, layer.weight.data
    model = nn.Sequential(layer, nn.Linear(2, 2)).eval()
    model.flat_parameters()[:] = 1
    assert (handle.data == 1).all()
    assert not (before == 1).all()
    handle.data[:] = 2
    assert model(np.ones(3, "float32")).tolist() == [15, 15]


@pytest.mark.parametrize("rows", [1, 300])
def test_writing_into_data_takes_effect_at_once(rows, rng):
    model = small(dtype="float32").eval()
    x = rng.normal(size=(rows, 4)).astype("float32")
    before = model(x)
    model[3].bias.data += 1
    np.testing.assert_allclose(model(x), before + 1, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model[3].bias.data, list(model.parameters())[-1].data)
    model.flat_parameters()[:] = 0
    assert not model(x).any()


def test_a_part_can_be_called_alone(rng):
    model, x = small(), rng.normal(size=(5, 4))
    h = x
    for part in model:
        h = part(h)
    np.testing.assert_allclose(h, model(x), rtol=1e-14)
    d = np.ones((5, 3))
    for part in reversed(list(model)):
        d = part.backward(d)
    by_hand = model.flat_gradients().copy()
    model.zero_grad()
    model(x)
    np.testing.assert_allclose(model.backward(np.ones((5, 3))), d, rtol=1e-12)
    np.testing.assert_allclose(model.flat_gradients(), by_hand, rtol=1e-12)
    assert model[0].weight._flat is model[3].weight._flat


def test_frozen_parameters_get_no_gradient(rng):
    model, x = small(), rng.normal(size=(5, 4))
    model(x)
    model.backward(np.ones((5, 3)))
    full = [p.grad.copy() for p in model.parameters()]
    model.zero_grad()
    frozen = list(model.parameters())[1:4]
    for parameter in frozen:
        parameter.requires_grad = False
    model(x)
    model.backward(np.ones((5, 3)))
    for parameter, grad in zip(model.parameters(), full, strict=True):
        np.testing.assert_array_equal(parameter.grad, 0 * grad if parameter in frozen else grad)
    frozen[0].requires_grad = True
    model(x)
    model.backward(np.ones((5, 3)))
    np.testing.assert_array_equal(frozen[0].grad, full[1])


def test_one_forward_serves_one_backward(rng, square):
    mixed, masked = nn.Sequential(small(), square(3)), nn.Sequential(small(), nn.Dropout(0.1))
    for model in (small(), mixed, masked, nn.Tanh()):
        out = model(rng.normal(size=(5, 4)))
        model.backward(np.ones_like(out))
        with pytest.raises(RuntimeError, match="for each backward"):
            model.backward(np.ones_like(out))


def test_need_dx_false_saves_the_input_gradient(rng, square):
    for model in (small(), nn.Sequential(small(), square(3))):
        x = rng.normal(size=(5, 4))
        model(x)
        assert model.backward(np.ones((5, 3)), need_dx=False) is None
        assert model.flat_gradients().any()


def test_a_users_module_between_runs(rng, square):
    parts = [
        nn.Linear(4, 6, dtype="float64"),
        nn.Tanh(),
        square(6),
        nn.ReLU(),
        nn.Linear(6, 2, dtype="float64"),
    ]
    model = nn.Sequential(*parts, seed=4)
    x = rng.normal(size=(7, 4))
    w, b, f, v, c = (p.data.copy() for p in model.parameters())
    want = np.maximum(f * np.tanh(x @ w.T + b) ** 2, 0) @ v.T + c
    np.testing.assert_allclose(model(x), want, rtol=1e-12)
    np.testing.assert_array_equal(model.eval()(x), model.train()(x))
    assert model.network is None
    assert (model.in_features, model.out_features) == (4, 2)
    assert all(np.shares_memory(model.flat_parameters(), p.data) for p in model.parameters())


def test_a_users_module_takes_the_models_dtype(rng, square):
    model = nn.Sequential(nn.Linear(3, 2), square(2))
    assert model[1].factor.dtype == np.float32
    assert model.dtype == "float32"
    assert model(rng.normal(size=(4, 3))).dtype == np.float32


def test_a_model_without_parameters_follows_its_input():
    model = nn.Sequential(nn.Tanh(), nn.Softmax())
    assert model.dtype is None
    assert model(np.ones((2, 3), "float32")).dtype == np.float32
    assert model(np.ones((2, 5))).dtype == np.float64
    assert nn.Sequential(nn.Tanh(), dtype="float32")(np.ones(3)).dtype == np.float32


def test_two_dtypes_need_a_choice():
    def layers():
        return nn.Linear(2, 2), nn.Linear(2, 2, dtype="float64")

    with pytest.raises(ValueError, match=r"float32 and float64; choose one by dtype="):
        nn.Sequential(*layers())
    model = nn.Sequential(*layers(), dtype="float64")
    assert {str(p.dtype) for p in model.parameters()} == {"float64"}
    inner = nn.Sequential(nn.Linear(2, 2), dtype="float32")
    outer = nn.Sequential(inner, dtype="float64")
    assert inner.dtype == "float64"
    assert inner(np.ones(2)).dtype == outer(np.ones(2)).dtype == np.float64


def test_widths_that_do_not_fit_are_named():
    says = r"module '2' \(Linear\) takes 5 features; expected 3, which module '0' \(Linear\) gives"
    with pytest.raises(ValueError, match=says):
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(5, 2))
    with pytest.raises(ValueError, match=r"module '1.0' \(Linear\) takes 5"):
        nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Linear(5, 2)))
    with pytest.raises(TypeError, match="module 0 is a ModuleList"):
        nn.Sequential(nn.ModuleList())


def test_a_model_can_grow_and_change(rng):
    model = nn.Sequential(nn.Linear(4, 3), seed=0)
    x = rng.normal(size=(5, 4)).astype("float32")
    first = model(x)
    assert model.append(nn.Tanh()) is model
    np.testing.assert_allclose(model(x), np.tanh(first), rtol=1e-5, atol=1e-7)
    model[1] = nn.Linear(3, 2)
    assert model(x).shape == (5, 2)
    assert len(model) == 2
    assert model[-1].weight._flat is model[0].weight._flat
    assert [type(m).__name__ for m in model[:1]] == ["Linear"]
    before = model(x)
    for change in (lambda: model.append(nn.Linear(5, 2)), lambda: model.__setitem__(0, nn.Linear(4, 9))):
        with pytest.raises(ValueError, match="features"):
            change()
    with pytest.raises(IndexError):
        model[2] = nn.ReLU()
    np.testing.assert_array_equal(model(x), before)


def test_a_replaced_module_is_free_again():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    old = model[0]
    model[0] = nn.Linear(3, 3)
    assert nn.Sequential(old)[0] is old


def test_subclasses_run_as_what_they_are(rng):
    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), seed=0)

    class Doubled(Net):
        def forward(self, x):
            return 2 * super().forward(x)

        def backward(self, dout, *, need_dx=True):
            return super().backward(2 * dout, need_dx=need_dx)

    x = rng.normal(size=(5, 3)).astype("float32")
    plain, doubled = Net(), Doubled()
    assert plain.network is not None
    np.testing.assert_array_equal(doubled(x), 2 * plain(x))
    np.testing.assert_array_equal(nn.Sequential(doubled)(x), 2 * plain(x))
    assert nn.Sequential(Net()).network is not None
    assert nn.Sequential(Doubled()).network is None


@pytest.mark.parametrize("mixed", [False, True])
def test_copies_and_pickles(mixed, rng, square):
    parts = [nn.Linear(4, 3), nn.Dropout(0.5), *([square(3)] if mixed else [nn.ReLU()])]
    model = nn.Sequential(*parts, seed=3, task="multiclass")
    model.classes_ = ["a", "b", "c"]
    model[0].bias.requires_grad = False
    x = rng.normal(size=(6, 4)).astype("float32")
    model(x)
    twins = [copy.deepcopy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    out, dx = model(x), model.backward(np.ones((6, 3), "float32"))
    for twin in twins:
        np.testing.assert_array_equal(twin(x), out)
        np.testing.assert_array_equal(twin.backward(np.ones((6, 3), "float32")), dx)
        assert not twin[0].bias.requires_grad
        assert twin.task == "multiclass"
        assert twin.classes_.tolist() == ["a", "b", "c"]
        assert not np.shares_memory(twin.flat_parameters(), model.flat_parameters())
        assert all(np.shares_memory(twin.flat_parameters(), p.data) for p in twin.parameters())
        assert [p.name for p in twin.parameters()] == [p.name for p in model.parameters()]
        with pytest.raises(ValueError, match="already"):
            nn.Sequential(twin[0])
    part = copy.deepcopy(model[0])
    assert nn.Sequential(part)[0] is part


def test_models_are_freed_with_their_last_name():
    model = small()
    model(np.ones((2, 4)))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_predictions_in_many_threads(rng):
    model = small().eval()
    x = rng.normal(size=(64, 4))
    want = model(x)
    wrong = []

    def work():
        wrong.extend(1 for _ in range(50) if not np.array_equal(model(x), want))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_mlp_is_what_it_says(rng):
    model = nn.MLP([4, 8, 6, 3], activation="elu", dropout=0.2, seed=0, task="multiclass")
    kinds = [type(m).__name__ for m in model]
    assert kinds == ["Linear", "ELU", "Dropout", "Linear", "ELU", "Dropout", "Linear"]
    assert [type(m).__name__ for m in nn.MLP([4, 3])] == ["Linear"]
    assert [type(m).__name__ for m in nn.MLP([4, 5, 3], None)] == ["Linear", "Linear"]
    assert nn.MLP([4, 5, 3], "identity", dtype="float64").dtype == "float64"
    assert model.predict(rng.normal(size=(5, 4))).shape == (5,)
    for sizes, error in (([4], ValueError), ([4, 2.0], TypeError), ([4, -1], ValueError)):
        with pytest.raises(error, match="sizes"):
            nn.MLP(sizes)
    with pytest.raises(ValueError, match=r"activation is 'cube'; expected 'relu'"):
        nn.MLP([4, 3, 2], activation="cube")
    with pytest.raises(ValueError, match="norm is 'batch'"):
        nn.MLP([4, 3, 2], norm="batch")


def test_module_lists_are_lists():
    layers = nn.ModuleList([nn.Linear(2, 2)])
    layers.append(nn.ReLU()).extend([nn.Tanh(), nn.Linear(2, 1)])
    assert [type(m).__name__ for m in layers] == ["Linear", "ReLU", "Tanh", "Linear"]
    layers[1] = nn.Sigmoid()
    assert type(layers[1]).__name__ == "Sigmoid"
    assert len(layers[1:]) == 3
    assert [name for name, _ in layers.named_parameters()] == ["0.weight", "0.bias", "3.weight", "3.bias"]
    with pytest.raises(TypeError, match="module 4 is a int"):
        layers.append(3)
    with pytest.raises(NotImplementedError, match="ModuleList has no forward"):
        layers(1)
