"""The layers of nnrs that torch lacks, as torch modules: Step, Standardize and MinMaxScale.

Importing this file imports torch. The classes stand at its top level, so that a converted module can be
pickled and saved by torch.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["MinMaxScale", "Standardize", "Step"]


class Step(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """1 where x >= 0, else 0; NaN stays NaN, and no gradient passes.

    Examples
    --------
    >>> Step()(torch.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 1., 1.])
    """

    def forward(self, x: Any) -> Any:
        """Compute the outputs, of x's shape."""
        return torch.where(torch.isnan(x), x, (x >= 0).to(x.dtype))


class _Scaler(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """(x - mean) / scale, by column, with float64 statistics that do not train.

    As in nnrs, they are rounded to x's dtype, the scale as a factor.
    """

    def __init__(self, mean: Any, scale: Any) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, x: Any) -> Any:
        """Compute the outputs, of x's shape."""
        factor = (1.0 / self.scale).to(x.dtype).clamp(max=torch.finfo(x.dtype).max)
        return (x - self.mean.to(x.dtype)) * factor


class Standardize(_Scaler):
    """(x - mean) / scale.

    Parameters
    ----------
    mean, scale : (features,) float64 tensor
        Kept as buffers of these names.

    Examples
    --------
    >>> one = torch.ones(3, dtype=torch.float64)
    >>> Standardize(one, 2 * one)(torch.full((1, 3), 5.0))
    tensor([[2., 2., 2.]])
    """


class MinMaxScale(_Scaler):
    """(x - mean) / scale, where mean holds the least values and scale the ranges.

    Parameters
    ----------
    mean, scale : (features,) float64 tensor
        Kept as buffers of these names.

    Examples
    --------
    >>> one = torch.ones(3, dtype=torch.float64)
    >>> MinMaxScale(one, 4 * one)(torch.full((1, 3), 5.0))
    tensor([[1., 1., 1.]])
    """
