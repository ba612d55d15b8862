import copy
import itertools
import pickle

import numpy as np
import pytest

from nnrs import nn, optim

STEPS = 50


def sgd(p, grads, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    """Sutskever et al. 2013 in torch's form, float64."""
    buffer = None
    for g in grads:
        g = g + weight_decay * p
        if momentum:
            buffer = g.copy() if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        p = p - lr * g
    return p


def adam(p, grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, decoupled=False):
    """Kingma and Ba 2015, algorithm 1; Reddi et al. 2018; Loshchilov and Hutter 2019. float64."""
    m, v, top = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        top = np.maximum(top, v)
        second = (top if amsgrad else v) / (1 - betas[1] ** t)
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(second) + eps)
    return p


def adamw(p, grads, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, amsgrad=False):
    return adam(p, grads, lr, betas, eps, weight_decay, amsgrad, decoupled=True)


SGD_OPTIONS = [
    {"lr": 0.1, "momentum": momentum, "dampening": dampening, "weight_decay": decay, "nesterov": nesterov}
    for momentum, dampening, decay, nesterov in itertools.product(
        (0.0, 0.9), (0.0, 0.3), (0.0, 0.05), (False, True)
    )
    if not nesterov or (momentum and not dampening)
]
ADAM_OPTIONS = [
    {"lr": lr, "betas": betas, "eps": eps, "weight_decay": decay, "amsgrad": amsgrad}
    for lr, (betas, eps), decay, amsgrad in itertools.product(
        (1e-3, 0.1), (((0.9, 0.999), 1e-8), ((0.0, 0.5), 0.1)), (0.0, 0.1), (False, True)
    )
]
CASES = [
    *((optim.SGD, sgd, options) for options in SGD_OPTIONS),
    *((optim.Adam, adam, options) for options in ADAM_OPTIONS),
    *((optim.AdamW, adamw, options) for options in ADAM_OPTIONS),
    (optim.Adam, adam, {}),
    (optim.AdamW, adamw, {}),
]


def run(optimizer, params, grads):
    for step in grads:
        for p, g in zip(params, step, strict=True):
            p.grad = g
        optimizer.step()


def problem(dtype, shapes=((3, 5), (7,)), seed=0):
    rng = np.random.default_rng(seed)
    starts = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    # Large gradients first, so that AMSGrad's maximum and v differ.
    grads = [
        [rng.normal(size=s).astype(dtype) * (3 if t < 10 else 0.5) for s in shapes] for t in range(STEPS)
    ]
    return starts, grads


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 2e-4)])
@pytest.mark.parametrize(("kind", "reference", "options"), CASES)
def test_fifty_steps_against_the_papers(kind, reference, options, dtype, tolerance):
    starts, grads = problem(dtype)
    params = [nn.Parameter(start) for start in starts]
    run(kind(params, **options), params, grads)
    for n, (p, start) in enumerate(zip(params, starts, strict=True)):
        expected = reference(start.astype(np.float64), [g[n].astype(np.float64) for g in grads], **options)
        assert p.data.dtype == dtype
        assert np.linalg.norm(p.data - expected) <= tolerance * np.linalg.norm(expected - start)


def test_groups_have_settings_of_their_own():
    starts, grads = problem("float64")
    first, second = (nn.Parameter(start) for start in starts)
    optimizer = optim.SGD([{"params": first, "lr": 0.5}, {"params": [second], "momentum": 0.9}], lr=0.1)
    run(optimizer, [first, second], grads)
    np.testing.assert_allclose(first.data, sgd(starts[0], [g[0] for g in grads], 0.5), rtol=1e-10)
    np.testing.assert_allclose(second.data, sgd(starts[1], [g[1] for g in grads], 0.1, 0.9), rtol=1e-10)


def test_settings_written_into_groups_take_effect_at_once():
    p = nn.Parameter(np.zeros(3))
    optimizer = optim.SGD([p], lr=1.0)
    p.grad = np.ones(3)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.step()
    optimizer.param_groups[0].update(lr=0.25)
    optimizer.step()
    optimizer.param_groups[0] |= {"lr": 0.125}
    optimizer.step()
    np.testing.assert_array_equal(p.data, np.full(3, -1.875))


def test_a_wrong_setting_leaves_the_group_as_it_was():
    p = nn.Parameter(np.zeros(1))
    optimizer = optim.Adam([p], lr=0.1)
    group = optimizer.param_groups[0]
    before = dict(group)
    for key, value, error in (
        ("lr", -1, ValueError),
        ("lr", "high", TypeError),
        ("betas", (1.0, 0.9), ValueError),
        ("betas", 0.9, ValueError),
        ("params", [], ValueError),
    ):
        with pytest.raises(error):
            group[key] = value
    with pytest.raises(ValueError, match="weight_decay"):
        group.update(lr=0.5, weight_decay=float("nan"))
    for remove in (lambda: group.pop("lr"), lambda: group.__delitem__("params"), group.clear, group.popitem):
        with pytest.raises(ValueError, match="cannot be taken out"):
            remove()
    assert group == before
    group["initial_lr"] = 0.1
    assert group.setdefault("initial_lr", 5) == 0.1
    assert group.setdefault("note", "x") == "x"
    assert group.pop("initial_lr") == 0.1


def test_zero_grad_empties_what_adds_up():
    layer = nn.Linear(2, 1, dtype="float64")
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    for count in (1, 2):
        layer(np.ones((1, 2)))
        layer.backward(np.ones((1, 1)))
        np.testing.assert_array_equal(layer.weight.grad, np.full((1, 2), float(count)))
    optimizer.zero_grad()
    assert not layer.weight.grad.any()
    assert not layer.bias.grad.any()


def test_frozen_parameters_stay_and_can_be_thawed():
    starts, grads = problem("float64")
    params = [nn.Parameter(start) for start in starts]
    optimizer = optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.1)
    params[0].requires_grad = False
    run(optimizer, params, grads[:5])
    np.testing.assert_array_equal(params[0].data, starts[0])
    assert not np.array_equal(params[1].data, starts[1])
    params[0].requires_grad = True
    run(optimizer, params, grads[5:6])
    assert not np.array_equal(params[0].data, starts[0])


def test_frozen_and_thawed_parameters_keep_their_momentum():
    starts, grads = problem("float64")
    once, twice = ([nn.Parameter(start) for start in starts] for _ in range(2))
    one, two = (optim.Adam(params, lr=0.1) for params in (once, twice))
    run(one, once, grads[:3])
    run(two, twice, grads[:3])
    twice[0].requires_grad = False
    two.core()
    twice[0].requires_grad = True
    run(one, once, grads[3:6])
    run(two, twice, grads[3:6])
    for p, q in zip(once, twice, strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_state_follows_parameters_into_a_model():
    rng = np.random.default_rng(0)
    layer = nn.Linear(3, 2, dtype="float64")
    twin = copy.deepcopy(layer)
    grads = rng.normal(size=(6, 2, 3))
    mover, stayer = (optim.Adam(m.parameters(), lr=0.1) for m in (layer, twin))
    for t, g in enumerate(grads):
        if t == 3:
            nn.Sequential(layer, nn.ReLU(), nn.Linear(2, 1, dtype="float64"), dtype="float64", seed=None)
            layer.weight.data, layer.bias.data = twin.weight.data, twin.bias.data
        for m, optimizer in ((layer, mover), (twin, stayer)):
            m.weight.grad, m.bias.grad = g, g[:, 0]
            optimizer.step()
        np.testing.assert_array_equal(layer.weight.data, twin.weight.data)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        (optim.SGD, {"lr": 0.1}),
        (optim.Adam, {}),
        (optim.Adam, {"amsgrad": True}),
        (optim.AdamW, {"betas": (0.8, 0.9)}),
    ],
)
def test_state_dict_goes_on_bit_for_bit(kind, options):
    starts, grads = problem("float32")
    whole, half, rest = ([nn.Parameter(start) for start in starts] for _ in range(3))
    optimizer = kind(whole, **options)
    run(optimizer, whole, grads)
    first = kind(half, **options)
    run(first, half, grads[:20])
    for p, q in zip(rest, half, strict=True):
        p.data = q.data
    second = kind(rest, lr=123.0)
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    assert second.param_groups[0]["lr"] == first.param_groups[0]["lr"]
    run(second, rest, grads[20:])
    for p, q in zip(whole, rest, strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_state_dict_has_torchs_form_and_is_a_copy():
    p = nn.Parameter(np.ones((2, 3)))
    optimizer = optim.Adam([p], lr=0.5)
    assert optimizer.state_dict()["state"] == {}
    p.grad = np.ones((2, 3))
    optimizer.step()
    state = optimizer.state_dict()
    assert state["param_groups"][0]["params"] == [0]
    assert state["param_groups"][0]["betas"] == (0.9, 0.999)
    assert set(state["state"][0]) == {"step", "exp_avg", "exp_avg_sq"}
    assert state["state"][0]["step"] == 1
    np.testing.assert_allclose(state["state"][0]["exp_avg"], np.full((2, 3), 0.1))
    state["state"][0]["exp_avg"][:] = 7
    np.testing.assert_allclose(optimizer.state_dict()["state"][0]["exp_avg"], np.full((2, 3), 0.1))


def test_state_dict_without_powers_computes_them():
    starts, grads = problem("float64")
    params = [nn.Parameter(start) for start in starts]
    optimizer = optim.Adam(params)
    run(optimizer, params, grads[:7])
    state = optimizer.state_dict()
    other = optim.Adam([nn.Parameter(start) for start in starts])
    other.load_state_dict({key: state[key] for key in ("state", "param_groups")})
    np.testing.assert_array_equal(other.state_dict()["powers"], state["powers"])


def test_a_state_dict_that_does_not_fit_changes_nothing():
    starts, grads = problem("float64")
    params = [nn.Parameter(start) for start in starts]
    optimizer = optim.Adam(params)
    run(optimizer, params, grads[:3])
    good = optimizer.state_dict()

    def changed(edit):
        state = copy.deepcopy(good)
        edit(state)
        return state

    for wrong, message in (
        ({}, "no 'state'"),
        (
            changed(lambda s: s["param_groups"][0]["params"].append(2)),
            r"groups of \[3\] parameters; expected \[2\]",
        ),
        (changed(lambda s: s["param_groups"][0].update(lr=-1)), "lr must be"),
        (
            changed(lambda s: s["state"][0].update(exp_avg=np.zeros(4))),
            r"exp_avg of parameter 0 has shape \(4,\)",
        ),
        (changed(lambda s: s["state"][0].update(velocity=starts[0])), "slot 'velocity'"),
        (changed(lambda s: s["state"][1].pop("exp_avg")), "exp_avg for 1 parameters; expected 2"),
        (changed(lambda s: s["state"][1].update(step=9)), "different steps"),
        (changed(lambda s: s["state"].pop(1)), "different steps"),
        (changed(lambda s: s.update(powers=[1.0])), "powers has shape"),
    ):
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(wrong)
    after = optimizer.state_dict()
    np.testing.assert_equal(after, good)


def test_pickle_and_deepcopy_go_on_alike():
    starts, grads = problem("float64")
    params = [nn.Parameter(start) for start in starts]
    optimizer = optim.Adam(params, lr=0.05)
    run(optimizer, params, grads[:5])
    copies = [copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]
    run(optimizer, params, grads[5:10])
    for other in copies:
        own = other.param_groups[0]["params"]
        run(other, own, grads[5:10])
        for p, q in zip(params, own, strict=True):
            np.testing.assert_array_equal(p.data, q.data)
    assert type(copy.deepcopy(optimizer.param_groups)[0]) is dict


def test_repr_names_the_settings():
    text = repr(optim.SGD([nn.Parameter([1.0])], lr=0.1, momentum=0.9))
    assert text.startswith("SGD(")
    assert "group 0: 1 parameters, lr=0.1, momentum=0.9" in text


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda _: optim.SGD([], lr=0.1), ValueError, "params is empty"),
        (lambda p: optim.SGD(p, lr=0.1), TypeError, r"got Parameter; expected model.parameters\(\)"),
        (lambda _: optim.SGD(nn.Linear(2, 2), lr=0.1), TypeError, r"expected model.parameters\(\)"),
        (lambda _: optim.SGD([1.0], lr=0.1), TypeError, "params holds a float; expected nn.Parameter"),
        (lambda p: optim.SGD([p, p], lr=0.1), ValueError, "a parameter twice"),
        (lambda p: optim.SGD([{"params": p}, {"params": p}], lr=0.1), ValueError, "a parameter twice"),
        (lambda p: optim.SGD([{"params": p}, p], lr=0.1), TypeError, r"params\[1\] must be a dict"),
        (
            lambda _: optim.SGD([{"lr": 0.1}], lr=0.1),
            TypeError,
            r"params\[0\] must be a dict with the key 'params'",
        ),
        (
            lambda p: optim.SGD([{"params": p, "rate": 1}], lr=0.1),
            ValueError,
            r"params\[0\] has rate; expected keys",
        ),
        (lambda p: optim.SGD([p]), TypeError, "lr"),
        (lambda p: optim.SGD([p], lr=-0.1), ValueError, "lr must be finite and at least 0, got -0.1"),
        (lambda p: optim.SGD([p], lr="0.1"), TypeError, "lr must be a number"),
        (lambda p: optim.SGD([p], lr=0.1, momentum=-1), ValueError, "momentum must be"),
        (lambda p: optim.SGD([p], lr=0.1, nesterov=True), ValueError, "expected momentum above 0"),
        (lambda p: optim.SGD([p], 0.1, 0.9, 0.5, 0.0, True), ValueError, "dampening 0"),
        (
            lambda p: optim.Adam([p], betas=(0.9, 1.0)),
            ValueError,
            r"betas\[1\] must be .* less than 1, got 1.0",
        ),
        (lambda p: optim.Adam([p], betas=(0.9,)), ValueError, "betas must be two numbers"),
        (lambda p: optim.Adam([p], eps=float("inf")), ValueError, "eps must be finite"),
        (lambda p: optim.AdamW([p], weight_decay=-1), ValueError, "weight_decay must be"),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(nn.Parameter([1.0]))
