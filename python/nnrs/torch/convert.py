"""`nn.Sequential` to `torch.nn.Sequential` and back, a layer at a time; weights are copied both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnrs import nn

if TYPE_CHECKING:
    import torch

__all__ = ["from_torch", "to_torch"]


def to_torch(model: nn.Sequential) -> torch.nn.Sequential:
    """Copy a model to PyTorch: the same layers, the same names in `state_dict()`.

    Parameters
    ----------
    model : nn.Sequential
        Nested ones stay nested. Its dtype, mode and `requires_grad` carry over.

    Returns
    -------
    torch.nn.Sequential
        On the CPU, with weights of its own. Step, Standardize and MinMaxScale become modules of
        `nnrs.torch.layers`; task and classes stay behind.

    Raises
    ------
    ValueError
        If a layer has no counterpart (a module of one's own), or a scaler has not learned; the message names
        it.
    TypeError
        If `model` is no `nn.Sequential`.
    ImportError
        If torch is missing.

    Examples
    --------
    >>> import nnrs.torch
    >>> from nnrs import nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3), seed=0)
    >>> sorted(nnrs.torch.to_torch(model).state_dict())
    ['0.bias', '0.weight', '2.bias', '2.weight']
    """
    if not isinstance(model, nn.Sequential):
        raise TypeError(f"model is a {type(model).__name__}; expected an nn.Sequential")
    _import_torch()
    from nnrs.torch.outward import to_sequential

    return to_sequential(model)


def from_torch(module: torch.nn.Module) -> nn.Sequential:
    """Copy a PyTorch module to nnrs.

    Parameters
    ----------
    module : torch.nn.Sequential or one layer
        Nested ones stay nested; on any device; float32 or float64 throughout. Its mode and `requires_grad`
        carry over.

    Returns
    -------
    nn.Sequential
        With weights of its own. Layers are numbered in order, as in `torch.nn.Sequential`; names that the
        torch module gave them are not kept.

    Raises
    ------
    ValueError
        If a layer has no counterpart in nnrs, or a setting that nnrs lacks; if a layer or a weight is used
        twice, has hooks, or is of another dtype. The message names the layer.
    TypeError
        If `module` is no torch module.
    ImportError
        If torch is missing.

    Examples
    --------
    >>> import torch
    >>> import nnrs.torch
    >>> model = nnrs.torch.from_torch(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()))
    >>> [type(layer).__name__ for layer in model]
    ['Linear', 'ReLU']
    """
    _import_torch()
    from nnrs.torch.inward import from_module

    return from_module(module)


def _import_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ImportError(f"nnrs.torch needs PyTorch ({error}): pip install 'nnrs[torch]'") from error
