"""What the tests of training share: data, a network, a trainer, a count of calls into the core."""

import sys

import numpy as np
import pytest

import nnrs
from nnrs import _core, nn, optim


def make_table(rows=60, features=5, classes=3, seed=0, dtype="float32"):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features))
    y = (x @ rng.normal(size=(features, classes))).argmax(axis=1)
    return x.astype(dtype), y


def make_network(dropout=0.0, dtype="float32", outputs=3, features=5):
    return nn.Sequential(
        nn.Linear(features, 8),
        nn.Tanh(),
        nn.Dropout(dropout),
        nn.Linear(8, outputs),
        seed=1,
        dtype=dtype,
    )


def make_trainer(model=None, loss=None, lr=0.05, kind=optim.Adam, **options):
    model = make_network() if model is None else model
    options.setdefault("seed", 7)
    return nnrs.Trainer(model, loss or nn.CrossEntropyLoss(), kind(model.parameters(), lr=lr), **options)


def values(trainer):
    return {name: p.data.copy() for name, p in trainer.model.named_parameters()}


def check_same(one, two):
    for (name, a), (_, b) in zip(values(one).items(), values(two).items(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def count_calls(run):
    """Names of the calls into the core that Python code outside of it makes."""
    names = []
    inside = getattr(_core, "__file__", "")

    def profile(frame, event, argument):
        if event == "c_call":
            owner = getattr(argument, "__self__", None)
            if getattr(type(owner), "__module__", None) == _core.__name__ or owner is _core:
                names.append(argument.__name__)
        elif event == "call" and frame.f_code.co_filename == inside:
            outer, name = frame.f_back, frame.f_code.co_name
            if outer is not None and outer.f_code.co_filename != inside and not name.startswith("_"):
                names.append(name)

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return names


@pytest.fixture
def table():
    """Return a maker of rows and of class numbers that a line could tell."""
    return make_table


@pytest.fixture
def network():
    """Return a maker of a small network."""
    return make_network


@pytest.fixture
def trainer_of():
    """Return a maker of a trainer, of a small network unless one is given."""
    return make_trainer


@pytest.fixture
def parameters():
    """Return a function that copies the parameters of a trainer's model."""
    return values


@pytest.fixture
def assert_same():
    """Return a check that the models of two trainers have the same bits."""
    return check_same


@pytest.fixture
def core_calls():
    """Return a function that names the calls into the core that another one makes."""
    return count_calls
