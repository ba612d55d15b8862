"""Layers, containers and losses.

- `Linear`; the activations `ReLU`, `LeakyReLU`, `ELU`, `SELU`, `GELU`, `SiLU`, `Mish`, `Softplus`, `Sigmoid`,
  `Tanh`, `Step`, `Softmax`, `LogSoftmax`; `Dropout`, `Flatten`, `Identity`
- `Standardize`, `MinMaxScale`: scalers, first in a model
- `Sequential`, `MLP`, `ModuleList`: containers; `Module`, `Parameter`: to write your own
- `CrossEntropyLoss`, `BCEWithLogitsLoss`, `BCELoss`, `NLLLoss`, `MSELoss`, `L1Loss`, `HuberLoss`,
  `HingeLoss`, `PerceptronLoss`; `Loss`: to write your own
- `init`: how weights are drawn
"""

from __future__ import annotations

from nnrs.nn import init
from nnrs.nn.activation import (
    ELU,
    GELU,
    SELU,
    LeakyReLU,
    LogSoftmax,
    Mish,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Step,
    Tanh,
)
from nnrs.nn.dropout import Dropout
from nnrs.nn.linear import Linear
from nnrs.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HingeLoss,
    HuberLoss,
    L1Loss,
    Loss,
    MSELoss,
    NLLLoss,
    PerceptronLoss,
)
from nnrs.nn.module import Module
from nnrs.nn.modulelist import ModuleList
from nnrs.nn.parameter import Parameter
from nnrs.nn.scale import MinMaxScale, Standardize
from nnrs.nn.sequential import MLP, Sequential
from nnrs.nn.shape import Flatten, Identity

__all__ = [
    "ELU",
    "GELU",
    "MLP",
    "SELU",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "HingeLoss",
    "HuberLoss",
    "Identity",
    "L1Loss",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "Loss",
    "MSELoss",
    "MinMaxScale",
    "Mish",
    "Module",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "PerceptronLoss",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Standardize",
    "Step",
    "Tanh",
    "init",
]
