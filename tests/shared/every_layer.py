"""Every layer that has no weights, by name, and rows to go through it."""

from __future__ import annotations

import numpy as np

from nnrs import nn

LAYERS = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "elu": lambda: nn.ELU(0.7),
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "softplus_beta": lambda: nn.Softplus(2.5),
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "step": nn.Step,
    "softmax": nn.Softmax,
    "log_softmax": nn.LogSoftmax,
    "identity": nn.Identity,
    "dropout": lambda: nn.Dropout(0.3),
    "flatten": nn.Flatten,
}


def inputs(dtype="float32", rows=9, columns=4):
    return (3 * np.random.default_rng(0).normal(size=(rows, columns))).astype(dtype)
