"""Optimisers: torch's names, arguments and formulas over one flat buffer of parameters.

A step is one call into the core and one pass over flat memory. `param_groups` is a list of dicts as in torch;
what is written there reaches the core at once, so that a step passes no numbers.
"""

from __future__ import annotations

from nnrs.optim.adam import Adam, AdamW
from nnrs.optim.group import ParamGroup
from nnrs.optim.optimizer import Optimizer
from nnrs.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "ParamGroup"]
