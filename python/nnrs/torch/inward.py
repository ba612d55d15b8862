"""Each torch module as a layer of nnrs. Importing this file imports torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray

from nnrs import nn
from nnrs.torch import layers

__all__ = ["from_module"]

_DTYPES = {torch.float32: "float32", torch.float64: "float64"}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def from_module(module: Any) -> nn.Sequential:
    """Return a torch module as an `nn.Sequential` in the same mode.

    Raises
    ------
    ValueError
        If a layer has no counterpart, or something is shared, hooked or of another dtype.
    TypeError
        If `module` is no torch module.

    Examples
    --------
    >>> from nnrs.torch.inward import from_module
    >>> from_module(torch.nn.Linear(4, 3)).out_features
    3
    """
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module is a {type(module).__name__}; expected a torch.nn.Module")
    if not _is_sequential(module):
        outer = torch.nn.Sequential(module)
        outer.training = module.training
        module = outer
    _check_uses(module)
    return _sequential(module, _common_dtype(module), "")


def _sequential(module: Any, dtype: str, path: str) -> nn.Sequential:
    children = [_layer(child, dtype, _below(path, name)) for name, child in module.named_children()]
    model = nn.Sequential(*children, dtype=dtype)
    # Not .train(), which would set the children's modes, too.
    model._set_modes([(model, module.training)])
    return model


def _is_sequential(module: Any) -> bool:
    """Whether it is a Sequential, or a subclass that runs its children as a Sequential does."""
    return isinstance(module, torch.nn.Sequential) and type(module).forward is torch.nn.Sequential.forward


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _where(module: Any, path: str) -> str:
    return f"layer {path!r} ({type(module).__name__})"


def _check_uses(module: Any) -> None:
    """Refuse hooks, and a module or a weight at two places, which torch allows."""
    seen: dict[int, str] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        if any(getattr(part, hooks, None) for hooks in _HOOKS):
            raise ValueError(f"{_where(part, path)} has hooks; expected none, for nnrs would not run them")
        own = part.named_parameters(recurse=False, remove_duplicate=False)
        for where, held in [(path, part), *((_below(path, name), tensor) for name, tensor in own)]:
            if id(held) in seen:
                raise ValueError(
                    f"{where!r} is {seen[id(held)]!r} again; expected no sharing: copy.deepcopy it"
                )
            seen[id(held)] = where


def _common_dtype(module: Any) -> str:
    found: dict[str, str] = {}
    for path, parameter in module.named_parameters():
        if parameter.dtype not in _DTYPES:
            raise ValueError(
                f"{path!r} has dtype {parameter.dtype}; expected float32 or float64: module.float() converts"
            )
        found.setdefault(_DTYPES[parameter.dtype], path)
    if len(found) > 1:
        raise ValueError(
            f"{found['float32']!r} has dtype float32 and {found['float64']!r} float64; "
            "expected one dtype: module.float() converts"
        )
    return next(iter(found), "float32")


def _layer(module: Any, dtype: str, path: str) -> nn.Module:
    if _is_sequential(module):
        return _sequential(module, dtype, path)
    # Exact types: a subclass may compute something else.
    build = _BUILD.get(type(module))
    if build is None:
        supported = ", ".join(sorted(kind.__name__ for kind in (*_BUILD, torch.nn.Sequential)))
        raise ValueError(f"{_where(module, path)} has no counterpart in nnrs; expected one of {supported}")
    try:
        layer = build(module)
    except ValueError as error:
        raise ValueError(f"{_where(module, path)}: {error}") from error
    layer.train(module.training)
    return layer


def _array(tensor: Any) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array


def _linear(module: Any) -> nn.Module:
    weight, bias = module.weight, module.bias
    if weight.is_meta:
        raise ValueError("its weight is on the meta device; expected one that holds values")
    layer = nn.Linear(
        module.in_features, module.out_features, bias is not None, init="zeros", dtype=_DTYPES[weight.dtype]
    )
    layer.weight.data = _array(weight)
    layer.weight.requires_grad = weight.requires_grad
    if layer.bias is not None:
        layer.bias.data = _array(bias)
        layer.bias.requires_grad = bias.requires_grad
    return layer


def _softmax(kind: type[nn.Module]) -> Callable[[Any], nn.Module]:
    def build(module: Any) -> nn.Module:
        if module.dim not in (-1, 1):
            raise ValueError(f"dim is {module.dim}; expected -1 or 1, along a row")
        return kind()

    return build


def _softplus(module: Any) -> nn.Module:
    # Above 20 the exact value is the input, to float32's last bit; below it torch would cut a corner off.
    if module.threshold < 20:
        raise ValueError(f"threshold is {module.threshold}; expected 20 or more")
    return nn.Softplus(module.beta)


def _flatten(module: Any) -> nn.Module:
    if (module.start_dim, module.end_dim) != (1, -1):
        raise ValueError(f"start_dim is {module.start_dim}, end_dim {module.end_dim}; expected 1 and -1")
    return nn.Flatten()


def _scaler(kind: type[nn.Module]) -> Callable[[Any], nn.Module]:
    def build(module: Any) -> nn.Module:
        layer = kind()
        layer.load_state_dict({name: _array(tensor) for name, tensor in module.named_buffers()})
        return layer

    return build


_BUILD: dict[type[Any], Callable[[Any], nn.Module]] = {
    torch.nn.Linear: _linear,
    torch.nn.ReLU: lambda _: nn.ReLU(),
    torch.nn.LeakyReLU: lambda module: nn.LeakyReLU(module.negative_slope),
    torch.nn.ELU: lambda module: nn.ELU(module.alpha),
    torch.nn.SELU: lambda _: nn.SELU(),
    torch.nn.GELU: lambda module: nn.GELU(module.approximate),
    torch.nn.SiLU: lambda _: nn.SiLU(),
    torch.nn.Mish: lambda _: nn.Mish(),
    torch.nn.Softplus: _softplus,
    torch.nn.Sigmoid: lambda _: nn.Sigmoid(),
    torch.nn.Tanh: lambda _: nn.Tanh(),
    torch.nn.Softmax: _softmax(nn.Softmax),
    torch.nn.LogSoftmax: _softmax(nn.LogSoftmax),
    torch.nn.Identity: lambda _: nn.Identity(),
    torch.nn.Dropout: lambda module: nn.Dropout(module.p),
    torch.nn.Flatten: _flatten,
    layers.Step: lambda _: nn.Step(),
    layers.Standardize: _scaler(nn.Standardize),
    layers.MinMaxScale: _scaler(nn.MinMaxScale),
}
