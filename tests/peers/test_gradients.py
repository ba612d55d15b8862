"""Values, gradients and updates against torch's autograd and optimisers.

torch computes in float64, on the very numbers that nnrs gets; an error is relative in norm. So the bounds for
float32 state what its rounding costs, and those for float64 what two orders of summation differ by.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import nnrs  # noqa: E402
import nnrs.functional as F  # noqa: E402
from nnrs import nn, optim  # noqa: E402

T = torch.nn.functional
DTYPES = ["float32", "float64"]
ELEMENT = {"float32": 1.5e-7, "float64": 2e-15}
ROW = {"float32": 4e-7, "float64": 3e-15}
NETWORK = {"float32": 2e-6, "float64": 1e-14}
UPDATES = {"float32": 1e-6, "float64": 1e-14}
TRAINING = {"float32": 2e-5, "float64": 1e-12}
# AdamW multiplies by 1 − lr·weight_decay, which float32 rounds, nnrs and torch alike.
DECAY = {"float32": 3e-4, "float64": 1e-14}


def error(got, want):
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape
    if not want.size:
        return 0.0
    return np.linalg.norm((got - want).ravel()) / max(np.linalg.norm(want.ravel()), 1e-300)


def moved_apart(got, want, start):
    """Return the error of where a parameter went, relative to how far it went.

    Every step rounds the parameter once, however small the step is: those roundings are taken off, as 5 of
    the 50, for they have either sign.
    """
    rounding = 5 * np.finfo(got.dtype).eps / 2 * np.linalg.norm(want)
    start = start.astype(np.float64)
    return max(np.linalg.norm(got.astype(np.float64) - want) - rounding, 0) / np.linalg.norm(want - start)


def tensor(array, grad=False):
    """Return a tensor of the same numbers: float64, or int64 for class numbers."""
    array = np.asarray(array)
    wide = torch.tensor(array.astype(np.int64 if array.dtype.kind == "i" else np.float64))
    return wide.requires_grad_() if grad else wide


def normal(*shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# --- activations: name, settings, torch's function

ACTIVATIONS = [
    ("relu", {}, T.relu),
    ("sigmoid", {}, torch.sigmoid),
    ("tanh", {}, torch.tanh),
    *(
        ("leaky_relu", {"negative_slope": s}, lambda x, s=s: T.leaky_relu(x, s))
        for s in (0.01, 0.3, 0.0, 1.5)
    ),
    *(("elu", {"alpha": a}, lambda x, a=a: T.elu(x, a)) for a in (1.0, 0.4, 2.5)),
    ("selu", {}, T.selu),
    *(("gelu", {"approximate": a}, lambda x, a=a: T.gelu(x, approximate=a)) for a in ("none", "tanh")),
    ("silu", {}, T.silu),
    ("mish", {}, T.mish),
    # torch goes over to the line at beta·x = 20, which costs 1e-10 there.
    *(("softplus", {"beta": b}, lambda x, b=b: T.softplus(x, b, threshold=100)) for b in (1.0, 0.2, 7.0)),
    *(("softmax", {"axis": a}, lambda x, a=a: T.softmax(x, a)) for a in (-1, 0)),
    *(("log_softmax", {"axis": a}, lambda x, a=a: T.log_softmax(x, a)) for a in (-1, 0)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "settings", "peer"), ACTIVATIONS)
def test_activations(name, settings, peer, dtype):
    bound = (ROW if "softmax" in name else ELEMENT)[dtype]
    for scale in (0.1, 1.0, 4.0):
        x, dout = scale * normal(37, 23, dtype=dtype), normal(37, 23, seed=1, dtype=dtype)
        x = x.astype(dtype)
        wide = tensor(x, grad=True)
        out = peer(wide)
        out.backward(tensor(dout))
        got, dx = getattr(F, name)(x, **settings), getattr(F, name + "_backward")(dout, x, **settings)
        assert got.dtype == dx.dtype == dtype
        assert error(got, out.detach()) <= bound
        assert error(dx, wide.grad) <= bound


@pytest.mark.parametrize(("name", "settings", "peer"), [a for a in ACTIVATIONS if "softmax" not in a[0]])
def test_activations_take_torchs_side_of_a_kink(name, settings, peer):
    x = np.array([0.0, -0.0])
    wide = tensor(x, grad=True)
    out = peer(wide)
    out.sum().backward()
    np.testing.assert_allclose(getattr(F, name)(x, **settings), out.detach(), rtol=1e-15)
    dx = getattr(F, name + "_backward")(np.ones(2), x, **settings)
    np.testing.assert_allclose(dx, wide.grad, rtol=1e-15)


# --- losses: name, predictions, targets, settings, torch's loss of every row and what the rows weigh

ROWS, OUTPUTS = 41, 6
LABELS = np.random.default_rng(2).integers(0, OUTPUTS, ROWS)
SHARES = T.softmax(tensor(normal(ROWS, OUTPUTS, seed=3)), 1).numpy()
BITS = 1.0 * (normal(ROWS, OUTPUTS, seed=4) > 0)
CLASSES = np.array([1.0, 0.5, 2.0, 0.0, 3.0, 1.5])
POSITIVES = np.array([1.0, 2.0, 0.5, 0.0, 4.0, 1.0])
SIGNS = 2 * BITS[:, 0] - 1
PRED = 2 * normal(ROWS, OUTPUTS, seed=5)


def pointwise(peer, **settings):
    """Mean over the outputs of each row."""
    return lambda p, t: peer(p, t, reduction="none", **settings).reshape(len(p), -1).mean(1)


def rows_of(peer, class_weight=None, **settings):
    weight = None if class_weight is None else tensor(class_weight)
    return lambda p, t: peer(p, t, weight=weight, reduction="none", **settings)


def margins(margin):
    """Crammer and Singer's loss, which torch does not have (its multi_margin_loss sums over classes)."""

    def rows(p, t):
        right = p.gather(1, t[:, None])[:, 0]
        rival = p.scatter(1, t[:, None], -torch.inf).amax(1)
        return (margin - right + rival).clamp(min=0)

    return rows


def loss_cases():
    values = normal(ROWS, OUTPUTS, seed=6)
    yield "mse_loss", PRED, values, {}, pointwise(T.mse_loss)
    yield "mse_loss", PRED[:, 0], values[:, 0], {}, pointwise(T.mse_loss)
    yield "l1_loss", PRED, values, {}, pointwise(T.l1_loss)
    for delta in (1.0, 0.3, 5.0):
        yield "huber_loss", PRED, values, {"delta": delta}, pointwise(T.huber_loss, delta=delta)
    probabilities = 1 / (1 + np.exp(-PRED))
    for target in (BITS, SHARES):
        yield "binary_cross_entropy", probabilities, target, {}, pointwise(T.binary_cross_entropy)
        logits = T.binary_cross_entropy_with_logits
        yield "binary_cross_entropy_with_logits", PRED, target, {}, pointwise(logits)
        settings = {"pos_weight": POSITIVES}
        peer = pointwise(logits, pos_weight=tensor(POSITIVES))
        yield "binary_cross_entropy_with_logits", PRED, target, settings, peer
    yield "nll_loss", np.log(SHARES), LABELS, {}, rows_of(T.nll_loss)
    yield "nll_loss", np.log(SHARES), LABELS, {"class_weight": CLASSES}, rows_of(T.nll_loss, CLASSES)
    for target, weight, smoothing in itertools.product(
        (LABELS, np.eye(OUTPUTS)[LABELS], SHARES), (None, CLASSES), (0.0, 0.2, 0.9)
    ):
        settings = {"label_smoothing": smoothing}
        peer = rows_of(T.cross_entropy, weight, **settings)
        if weight is not None:
            settings["class_weight"] = weight
        yield "cross_entropy", PRED, target, settings, peer
    for name, margin in (("hinge_loss", 1.0), ("perceptron_loss", 0.0)):
        yield name, PRED, LABELS, {}, margins(margin)
        yield name, PRED[:, 0], SIGNS, {}, lambda p, t, margin=margin: (margin - t * p).clamp(min=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "pred", "target", "settings", "rows"), list(loss_cases()))
def test_losses(name, pred, target, settings, rows, weighted, dtype):
    """Reductions go over rows, sample weights w and class weights c as in the mean Σ wᵢcᵢlᵢ / Σ wᵢcᵢ.

    That is torch's mean where there are no sample weights. Elsewhere the two differ on purpose: torch has no
    sample weights; its "sum" and "none" of mse_loss, l1_loss, huber_loss and the binary cross-entropies go
    over elements, those of nnrs over rows, of which each is the mean over its outputs.
    """
    pred = pred.astype(dtype)
    target = target if target.dtype.kind == "i" else target.astype(dtype)
    weights = np.random.default_rng(8).uniform(0, 3, ROWS)
    weights[::7] = 0
    wide = tensor(pred, grad=True)
    each = rows(wide, tensor(target)) * (tensor(weights) if weighted else 1)
    by_class = "class_weight" in settings and target.ndim == 1
    total = (weights if weighted else np.ones(ROWS)) * (CLASSES[target] if by_class else 1)
    options = {"sample_weight": weights} if weighted else {}
    value, gradient = getattr(F, name), getattr(F, name + "_backward")
    wants = {"mean": each.sum() / total.sum(), "sum": each.sum(), "none": each}
    for reduction, want in wants.items():
        got = value(pred, target, reduction=reduction, **options, **settings)
        (want_grad,) = torch.autograd.grad(want.sum(), wide, retain_graph=True)
        grad = gradient(pred, target, reduction=reduction, **options, **settings)
        assert grad.dtype == dtype
        assert error(got, want.detach()) <= ROW[dtype]
        assert error(grad, want_grad) <= ROW[dtype]


@pytest.mark.parametrize(("name", "pred", "target", "settings", "rows"), list(loss_cases()))
def test_the_mean_is_torchs_mean(name, pred, target, settings, rows):
    """Without sample weights. torch has no margin losses like these: the rows written out stand for them."""
    if name in ("hinge_loss", "perceptron_loss"):
        want = rows(tensor(pred), tensor(target)).mean()
    else:
        options = {
            key.replace("class_weight", "weight"): tensor(v) if np.ndim(v) else v
            for key, v in settings.items()
        }
        want = getattr(T, name)(tensor(pred), tensor(target), **options)
    assert error(getattr(F, name)(pred, target, **settings), want) <= ROW["float64"]


def test_two_classes_are_torchs_multi_margin():
    """torch divides by the number of classes and sums over the others: of two classes, one other."""
    pred, target = PRED[:, :2], LABELS % 2
    want = 2 * T.multi_margin_loss(tensor(pred), tensor(target))
    assert F.hinge_loss(pred, target) == pytest.approx(want.item(), rel=1e-14)


def test_probabilities_of_zero_and_one_are_bounded_alike():
    pred, target = np.array([0.0, 1.0, 0.0, 1.0, 1e-300]), np.array([1.0, 0.0, 0.0, 1.0, 1.0])
    wide = tensor(pred, grad=True)
    want = T.binary_cross_entropy(wide, tensor(target))
    want.backward()
    assert F.binary_cross_entropy(pred, target) == pytest.approx(want.item(), rel=1e-14)
    np.testing.assert_allclose(F.binary_cross_entropy_backward(pred, target), wide.grad, rtol=1e-8)


def test_losses_keep_torchs_side_of_a_kink():
    pred, target = np.array([[0.0, 1.0, -1.0]]), np.zeros((1, 3))
    for name in ("l1_loss", "huber_loss"):
        wide = tensor(pred, grad=True)
        getattr(T, name)(wide, tensor(target)).backward()
        np.testing.assert_array_equal(getattr(F, name + "_backward")(pred, target), wide.grad)


def test_what_torch_lets_pass():
    """Class −100, which torch leaves out, and "probabilities" with another sum are refused by nnrs."""
    assert np.isfinite(T.cross_entropy(tensor(PRED[:2]), torch.tensor([0, -100])).item())
    with pytest.raises(ValueError, match=r"target\[1\] is -100; expected a class number from 0 to 5"):
        F.cross_entropy(PRED[:2], np.array([0, -100]))
    with pytest.raises(ValueError, match=r"target\[0\] sums to 2"):
        F.cross_entropy(PRED[:2], 2 * SHARES[:2])


# --- whole networks: layers of nnrs beside torch's, a loss of each

NETWORKS = {
    "one layer": lambda: [(nn.Linear(5, 3), torch.nn.Linear(5, 3))],
    "tanh": lambda: [
        (nn.Linear(5, 40), torch.nn.Linear(5, 40)),
        (nn.Tanh(), torch.nn.Tanh()),
        (nn.Linear(40, 3, bias=False), torch.nn.Linear(40, 3, bias=False)),
    ],
    "many kinds": lambda: [
        (nn.Linear(5, 17), torch.nn.Linear(5, 17)),
        (nn.GELU(), torch.nn.GELU()),
        (nn.Linear(17, 33), torch.nn.Linear(17, 33)),
        (nn.SiLU(), torch.nn.SiLU()),
        (nn.Linear(33, 16), torch.nn.Linear(33, 16)),
        (nn.Softmax(), torch.nn.Softmax(1)),
        (nn.Linear(16, 9), torch.nn.Linear(16, 9)),
        (nn.ELU(0.5), torch.nn.ELU(0.5)),
        (nn.Linear(9, 8), torch.nn.Linear(9, 8)),
        (nn.Mish(), torch.nn.Mish()),
        (nn.Softplus(2.0), torch.nn.Softplus(2.0)),
        (nn.Linear(8, 3), torch.nn.Linear(8, 3)),
    ],
    "one narrow": lambda: [
        (nn.Linear(5, 300), torch.nn.Linear(5, 300)),
        (nn.ReLU(), torch.nn.ReLU()),
        (nn.Linear(300, 1), torch.nn.Linear(300, 1)),
        (nn.LeakyReLU(0.1), torch.nn.LeakyReLU(0.1)),
        (nn.Linear(1, 20), torch.nn.Linear(1, 20)),
        (nn.Sigmoid(), torch.nn.Sigmoid()),
        (nn.Linear(20, 3), torch.nn.Linear(20, 3)),
    ],
}
LOSSES = {
    "cross entropy": (lambda: nn.CrossEntropyLoss(), T.cross_entropy),
    "smoothed": (
        lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
        lambda p, t: T.cross_entropy(p, t, label_smoothing=0.1),
    ),
    "mse": (lambda: nn.MSELoss(), T.mse_loss),
    "huber": (lambda: nn.HuberLoss(0.5), lambda p, t: T.huber_loss(p, t, delta=0.5)),
    "bits": (
        lambda: nn.BCEWithLogitsLoss([2.0, 1.0, 0.5]),
        lambda p, t: T.binary_cross_entropy_with_logits(p, t, pos_weight=torch.tensor([2.0, 1.0, 0.5])),
    ),
}


def twins(kind, dtype):
    """Return a model and torch's of the same weights, in float64."""
    pairs = NETWORKS[kind]()
    model = nn.Sequential(*(mine for mine, _ in pairs), seed=1, dtype=dtype)
    peer = torch.nn.Sequential(*(theirs for _, theirs in pairs)).double()
    with torch.no_grad():
        for theirs, mine in zip(peer.parameters(), model.parameters(), strict=True):
            theirs.copy_(tensor(mine.data))
    return model, peer


def targets(loss, rows, dtype):
    if loss in ("cross entropy", "smoothed"):
        return np.random.default_rng(9).integers(0, 3, rows)
    values = normal(rows, 3, seed=9, dtype=dtype)
    return (values > 0).astype(dtype) if loss == "bits" else values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 50, 300])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", NETWORKS)
def test_networks(kind, loss, rows, dtype):
    model, peer = twins(kind, dtype)
    x, y = normal(rows, 5, seed=7, dtype=dtype), targets(loss, rows, dtype)
    wide = tensor(x, grad=True)
    out = peer(wide)
    want = LOSSES[loss][1](out, tensor(y))
    want.backward()
    got = model(x)
    value, dout = LOSSES[loss][0]().value_and_grad(got, y)
    dx = model.backward(dout)
    assert got.dtype == dx.dtype == dtype
    assert error(got, out.detach()) <= NETWORK[dtype]
    assert error(value, want.detach()) <= NETWORK[dtype]
    assert error(dx, wide.grad) <= NETWORK[dtype]
    for mine, theirs in zip(model.parameters(), peer.parameters(), strict=True):
        assert error(mine.grad, theirs.grad) <= NETWORK[dtype]
    assert error(model.eval()(x), out.detach()) <= NETWORK[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [nn.Standardize, nn.MinMaxScale])
def test_networks_with_a_scaler(kind, dtype):
    x = 50 + 3 * normal(64, 5, dtype=dtype)
    model = nn.Sequential(kind(), nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3), seed=2, dtype=dtype)
    model.fit_scalers(x)
    state = {name: tensor(value).requires_grad_() for name, value in model.state_dict().items()}
    wide = tensor(x, grad=True)
    first = wide.double()
    if kind is nn.Standardize:
        scaled = (first - first.detach().mean(0)) / first.detach().std(0, correction=0)
    else:
        low, high = first.detach().amin(0), first.detach().amax(0)
        scaled = (first - low) / (high - low)
    out = T.linear(
        torch.tanh(T.linear(scaled, state["1.weight"], state["1.bias"])), state["3.weight"], state["3.bias"]
    )
    dout = normal(64, 3, seed=3, dtype=dtype)
    out.backward(tensor(dout))
    got, dx = model(x), model.backward(dout)
    assert error(got, out.detach()) <= NETWORK[dtype]
    assert error(dx, wide.grad) <= NETWORK[dtype]
    for name, parameter in model.named_parameters():
        assert error(parameter.grad, state[name].grad) <= NETWORK[dtype]


# --- optimisers: ours, torch's, settings

SGD = [
    {"lr": 0.05, "momentum": momentum, "dampening": dampening, "weight_decay": decay, "nesterov": nesterov}
    for momentum, dampening, decay, nesterov in itertools.product(
        (0.0, 0.5, 0.9), (0.0, 0.3), (0.0, 0.05), (False, True)
    )
    if not nesterov or (momentum and not dampening)
]
ADAM = [
    {"lr": lr, "betas": betas, "eps": eps, "weight_decay": decay, "amsgrad": amsgrad}
    for lr, (betas, eps), decay, amsgrad in itertools.product(
        (1e-3, 0.1), (((0.9, 0.999), 1e-8), ((0.0, 0.5), 0.1)), (0.0, 0.1), (False, True)
    )
]
OPTIMISERS = [
    *(("SGD", settings) for settings in SGD),
    *((name, settings) for name in ("Adam", "AdamW") for settings in [*ADAM, {}]),
]


def update(name, shapes, groups, settings, dtype, steps=50):
    """Return where both move the same parameters from where, over the same gradients."""
    starts = [normal(*shape, seed=n, dtype=dtype) for n, shape in enumerate(shapes)]
    mine = [nn.Parameter(start) for start in starts]
    theirs = [tensor(start, grad=True) for start in starts]

    def grouped(parameters):
        return [{"params": [parameters[n] for n in members], **own} for members, own in groups]

    ours = getattr(optim, name)(grouped(mine), **settings)
    peer = getattr(torch.optim, name)(grouped(theirs), **settings)
    for step in range(steps):
        for n, shape in enumerate(shapes):
            # Large gradients come first, so that AMSGrad's maximum is not the last.
            grad = normal(*shape, seed=100 + step * len(shapes) + n, dtype=dtype) * (3 if step < 10 else 0.5)
            mine[n].grad = grad.astype(dtype)
            theirs[n].grad = tensor(grad.astype(dtype))
        ours.step()
        peer.step()
    return [(p.data, t.detach().numpy(), start) for p, t, start in zip(mine, theirs, starts, strict=True)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "settings"), OPTIMISERS)
def test_optimisers_over_fifty_steps(name, settings, dtype):
    bound = (DECAY if name == "AdamW" else UPDATES)[dtype]
    for got, want, start in update(name, [(7, 5), (19,)], [([0, 1], {})], settings, dtype):
        assert moved_apart(got, want, start) <= bound


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("SGD", [{}, {"lr": 0.3, "weight_decay": 0.1}, {"momentum": 0.9, "nesterov": True}]),
        ("Adam", [{}, {"lr": 0.1, "betas": (0.5, 0.9)}, {"weight_decay": 0.1, "amsgrad": True, "eps": 1e-3}]),
        ("AdamW", [{"weight_decay": 0.0}, {"lr": 0.1, "amsgrad": True}, {"betas": (0.8, 0.8)}]),
    ],
)
def test_groups_of_parameters(name, own, dtype):
    groups = list(zip([[0, 3], [1], [2]], own, strict=True))
    bound = (DECAY if name == "AdamW" else UPDATES)[dtype]
    for got, want, start in update(name, [(7, 5), (19,), (3, 1), (16,)], groups, {"lr": 0.02}, dtype):
        assert moved_apart(got, want, start) <= bound


TRAINED = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {"lr": 1e-3}),
    ("Adam", {"lr": 1e-3, "amsgrad": True, "weight_decay": 0.01}),
    ("AdamW", {"lr": 1e-3, "weight_decay": 0.1}),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("name", "settings"), TRAINED)
def test_training_for_fifty_steps(name, settings, loss, dtype):
    model, peer = twins("tanh", dtype)
    starts = [p.data.copy() for p in model.parameters()]
    trainer = nnrs.Trainer(model, LOSSES[loss][0](), getattr(optim, name)(model.parameters(), **settings))
    optimizer = getattr(torch.optim, name)(peer.parameters(), **settings)
    # The same rows at every step, for gradients far from zero: Adam enlarges the rounding of small ones.
    x, y = normal(64, 5, seed=7, dtype=dtype), targets(loss, 64, dtype)
    wide, wide_y = tensor(x), tensor(y)
    for _ in range(50):
        optimizer.zero_grad()
        want = LOSSES[loss][1](peer(wide), wide_y)
        want.backward()
        optimizer.step()
        assert trainer.step(x, y) == pytest.approx(want.item(), rel=TRAINING[dtype])
    for mine, theirs, start in zip(model.parameters(), peer.parameters(), starts, strict=True):
        assert moved_apart(mine.data, theirs.detach().numpy(), start) <= TRAINING[dtype]
