"""What the tests of modules share: models, a module of the user's, central differences."""

from __future__ import annotations

import numpy as np
import pytest

from nnrs import nn


class Square(nn.Module):
    """y = factor · x², written as a user would."""

    def __init__(self, size=1):
        self.size = size
        self.factor = nn.Parameter(np.linspace(0.5, 1.5, size))

    def config(self):
        return {"size": self.size}

    def forward(self, x):
        if self.training:
            self.x = x
        return self.factor.data * x * x

    def backward(self, dout):
        if self.factor.requires_grad:
            self.factor.grad += (dout * self.x * self.x).reshape(-1, self.size).sum(0)
        return 2 * self.factor.data * dout * self.x


@pytest.fixture
def square():
    """Return the class of the user's module."""
    return Square


@pytest.fixture
def rng():
    """Return NumPy's generator, for test data only."""
    return np.random.default_rng(11)


@pytest.fixture
def check_gradients():
    """Return a check of a module's gradients, input and parameters, against central differences."""

    def check(module, x, step=1e-6, bound=1e-6):
        weights = np.cos(np.arange(module(x).size)).reshape(module(x).shape)

        def loss():
            return float((module(x) * weights).sum())

        module.zero_grad()
        loss()
        dx = module.backward(weights)
        places = [(x, dx)]
        places += [(p.data, p.grad.copy()) for p in module.parameters() if p.requires_grad]
        got, want = [], []
        for values, gradient in places:
            got.append(gradient.ravel())
            for index in np.ndindex(*values.shape):
                before = values[index]
                values[index] = before + step
                up = loss()
                values[index] = before - step
                want.append((up - loss()) / (2 * step))
                values[index] = before
        got = np.concatenate(got)
        want = np.array(want)
        assert np.linalg.norm(want) > 0
        assert np.linalg.norm(got - want) <= bound * np.linalg.norm(want)

    return check
