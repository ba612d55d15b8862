"""Gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnrs.arguments import check_number
from nnrs.optim.group import Params
from nnrs.optim.optimizer import Optimizer

__all__ = ["SGD"]


class SGD(Optimizer):
    """Gradient descent, with momentum and Nesterov's momentum.

        g ← g + weight_decay · p
        b ← momentum · b + (1 − dampening) · g        (b ← g at the first step)
        p ← p − lr · b        or, with nesterov,        p ← p − lr · (g + momentum · b)

    Parameters
    ----------
    params : list of Parameter, or of dict
        `model.parameters()`, or dicts with `params` and settings of their own.
    lr : float
        Learning rate, at least 0.
    momentum : float
        At least 0.
    dampening : float
        At least 0.
    weight_decay : float
        At least 0: L2 penalty, added to the gradient.
    nesterov : bool
        Needs momentum above 0 and no dampening.

    Raises
    ------
    TypeError, ValueError
        If `params` is empty, holds something else or a parameter twice, or a setting is out of range.

    Notes
    -----
    `torch.optim.SGD`; Sutskever et al. 2013, "On the importance of initialization and momentum".

    Examples
    --------
    >>> from nnrs import nn, optim
    >>> model = nn.Linear(2, 1)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    >>> optimizer.param_groups[0]["momentum"]
    0.9
    """

    _kind = "sgd"
    _slots = ("momentum_buffer",)

    def __init__(
        self,
        params: Params,
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        settings = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(params, self._checked(settings))

    def _checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        checked = dict(values)
        for name in ("lr", "momentum", "dampening", "weight_decay"):
            if name in checked:
                checked[name] = check_number(name, checked[name])
        checked["nesterov"] = bool(checked.get("nesterov", False))
        if checked["nesterov"] and not (checked["momentum"] > 0 and checked["dampening"] == 0):
            raise ValueError(
                f"nesterov=True with momentum={checked['momentum']} and dampening={checked['dampening']}; "
                "expected momentum above 0 and dampening 0"
            )
        return checked
