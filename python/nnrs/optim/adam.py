"""Adaptive moments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnrs.arguments import check_number
from nnrs.optim.group import Params
from nnrs.optim.optimizer import Optimizer

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adaptive moments, bias corrected.

        g ← g + weight_decay · p
        m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²
        p ← p − lr · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + eps)

    Parameters
    ----------
    params : list of Parameter, or of dict
        `model.parameters()`, or dicts with `params` and settings of their own.
    lr : float
        Learning rate, at least 0.
    betas : (float, float)
        Decay of the mean of g and of g², each in [0, 1).
    eps : float
        At least 0.
    weight_decay : float
        At least 0: L2 penalty, added to the gradient.
    amsgrad : bool
        Divide by the largest v so far.

    Raises
    ------
    TypeError, ValueError
        If `params` is empty, holds something else or a parameter twice, or a setting is out of range.

    Notes
    -----
    `torch.optim.Adam`; Kingma and Ba 2015, "Adam: a method for stochastic optimization"; Reddi, Kale and
    Kumar 2018, "On the convergence of Adam and beyond". The steps are counted for all parameters together.

    Examples
    --------
    >>> from nnrs import nn, optim
    >>> model = nn.Linear(2, 1)
    >>> optim.Adam(model.parameters(), lr=1e-3).param_groups[0]["betas"]
    (0.9, 0.999)
    """

    _kind = "adam"
    _slots = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(params, self._checked(settings))

    def _checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        checked = dict(values)
        for name in ("lr", "eps", "weight_decay"):
            checked[name] = check_number(name, checked[name])
        try:
            first, second = checked["betas"]
        except (TypeError, ValueError):
            raise ValueError(f"betas must be two numbers, got {checked['betas']!r}") from None
        checked["betas"] = (
            check_number("betas[0]", first, below=1),
            check_number("betas[1]", second, below=1),
        )
        checked["amsgrad"] = bool(checked["amsgrad"])
        return checked

    def _core_values(self, group: Mapping[str, Any]) -> dict[str, Any]:
        values = super()._core_values(group)
        values["beta1"], values["beta2"] = values.pop("betas")
        return values


class AdamW(Adam):
    """Adam with weight decay apart from the gradient.

        p ← p − lr · weight_decay · p, then as Adam without weight decay

    Parameters
    ----------
    params : list of Parameter, or of dict
        `model.parameters()`, or dicts with `params` and settings of their own.
    lr : float
        Learning rate, at least 0.
    betas : (float, float)
        Decay of the mean of g and of g², each in [0, 1).
    eps : float
        At least 0.
    weight_decay : float
        At least 0.
    amsgrad : bool
        Divide by the largest v so far.

    Raises
    ------
    TypeError, ValueError
        If `params` is empty, holds something else or a parameter twice, or a setting is out of range.

    Notes
    -----
    `torch.optim.AdamW`; Loshchilov and Hutter 2019, "Decoupled weight decay regularization".

    Examples
    --------
    >>> from nnrs import nn, optim
    >>> model = nn.Linear(2, 1)
    >>> optim.AdamW(model.parameters()).param_groups[0]["weight_decay"]
    0.01
    """

    _kind = "adamw"

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)
