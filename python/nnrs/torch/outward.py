"""Each layer of nnrs as a torch module. Importing this file imports torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nnrs import nn
from nnrs.nn.scale import Scaler
from nnrs.torch import layers

__all__ = ["to_sequential"]


def to_sequential(model: nn.Sequential, path: str = "") -> Any:
    """Return `model`, which stands at `path`, as a `torch.nn.Sequential` in the same mode.

    Raises
    ------
    ValueError
        If a layer has no counterpart.

    Examples
    --------
    >>> from nnrs.torch.outward import to_sequential
    >>> len(to_sequential(nn.MLP([4, 8, 3], seed=0)))
    3
    """
    children = [_module(child, f"{path}.{name}" if path else name) for name, child in model.named_children()]
    module = torch.nn.Sequential(*children)
    # Not .train(), which would set the children's modes, too.
    module.training = model.training
    return module


def _module(layer: nn.Module, path: str) -> Any:
    if isinstance(layer, nn.Sequential) and layer._in_core():
        return to_sequential(layer, path)
    build = _BUILD.get(type(layer))
    where = f"layer {path!r} ({type(layer).__name__})"
    if build is None:
        supported = ", ".join(sorted(kind.__name__ for kind in (*_BUILD, nn.Sequential)))
        raise ValueError(f"{where} has no counterpart in torch; expected one of {supported}")
    if isinstance(layer, Scaler) and not layer.fitted:
        raise ValueError(f"{where} has not learned its statistics; expected fit or fit_scalers before")
    module = build(layer)
    module.training = layer.training
    return module


def _tensor(array: NDArray[Any]) -> Any:
    return torch.from_numpy(np.array(array, order="C"))


def _linear(layer: Any) -> Any:
    bias = layer.bias
    weight = _tensor(layer.weight.data)
    # Made on the meta device, a Linear neither allocates nor draws weights that are replaced at once.
    module = torch.nn.Linear(
        layer.in_features, layer.out_features, bias is not None, device="meta", dtype=weight.dtype
    )
    module.weight = torch.nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
    if bias is not None:
        module.bias = torch.nn.Parameter(_tensor(bias.data), requires_grad=bias.requires_grad)
    return module


_BUILD: dict[type[nn.Module], Callable[[Any], Any]] = {
    nn.Linear: _linear,
    nn.ReLU: lambda _: torch.nn.ReLU(),
    nn.LeakyReLU: lambda layer: torch.nn.LeakyReLU(layer.negative_slope),
    nn.ELU: lambda layer: torch.nn.ELU(layer.alpha),
    nn.SELU: lambda _: torch.nn.SELU(),
    nn.GELU: lambda layer: torch.nn.GELU(approximate=layer.approximate),
    nn.SiLU: lambda _: torch.nn.SiLU(),
    nn.Mish: lambda _: torch.nn.Mish(),
    nn.Softplus: lambda layer: torch.nn.Softplus(beta=layer.beta),
    nn.Sigmoid: lambda _: torch.nn.Sigmoid(),
    nn.Tanh: lambda _: torch.nn.Tanh(),
    nn.Softmax: lambda _: torch.nn.Softmax(dim=-1),
    nn.LogSoftmax: lambda _: torch.nn.LogSoftmax(dim=-1),
    nn.Step: lambda _: layers.Step(),
    nn.Identity: lambda _: torch.nn.Identity(),
    nn.Dropout: lambda layer: torch.nn.Dropout(layer.p),
    nn.Flatten: lambda _: torch.nn.Flatten(),
    nn.Standardize: lambda layer: layers.Standardize(_tensor(layer.mean), _tensor(layer.scale)),
    nn.MinMaxScale: lambda layer: layers.MinMaxScale(_tensor(layer.mean), _tensor(layer.scale)),
}
