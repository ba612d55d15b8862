"""Parameters that share their settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from nnrs.nn.parameter import Parameter

if TYPE_CHECKING:
    from nnrs.optim.optimizer import Optimizer

__all__ = ["ParamGroup", "Params", "read_groups"]

Params = Iterable[Parameter] | Iterable[Mapping[str, Any]]


class ParamGroup(dict[str, Any]):
    """Parameters that share their settings: a dict whose writes reach the optimiser.

    Made by an optimiser from what it is given. Settings are checked before anything is written; other keys
    are kept as they are; `params` stays what it was, and no setting can be taken out.

    Examples
    --------
    >>> from nnrs import nn, optim
    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.1)
    >>> optimizer.param_groups[0]["lr"] = 0.01
    >>> optimizer.param_groups[0]["lr"]
    0.01
    """

    def __init__(self, optimizer: Optimizer, number: int, values: Mapping[str, Any]) -> None:
        super().__init__(optimizer._checked(values))
        self._optimizer = optimizer
        self._number = number

    def update(self, *values: Any, **more: Any) -> None:
        """Write several settings; all are checked before the first is written."""
        new = dict(*values, **more)
        if "params" in new and new["params"] is not self["params"]:
            raise ValueError(
                "the params of a group cannot be replaced; expected a new optimiser for other ones"
            )
        checked = self._optimizer._checked({**self, **new})
        self._optimizer._send(self._number, checked)
        super().update(checked)

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __ior__(self, values: Any) -> ParamGroup:  # type: ignore[override, misc]
        self.update(values)
        return self

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, which becomes `default` where there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def __delitem__(self, key: str) -> None:
        self.pop(key)

    def pop(self, key: str, *default: Any) -> Any:
        """Take out a key that is no setting."""
        if key == "params" or key in self._optimizer.defaults:
            raise ValueError(
                f"{key!r} is a setting of {type(self._optimizer).__name__}; it cannot be taken out"
            )
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        """Refuse: settings cannot be taken out."""
        raise ValueError("the settings of a group cannot be taken out")

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is a plain dict: what is written there is nobody's setting.
        return dict, (dict(self),)

    def clear(self) -> None:
        """Refuse: settings cannot be taken out."""
        raise ValueError("the settings of a group cannot be taken out")


def read_groups(params: Params, known: set[str]) -> list[dict[str, Any]]:
    """Return what an optimiser was given as a list of groups, each with a list of `params`.

    Raises
    ------
    TypeError, ValueError
        If it is empty, or holds anything but parameters, or a group has a key that is not `known`.

    Examples
    --------
    >>> from nnrs import nn
    >>> from nnrs.optim.group import read_groups
    >>> len(read_groups([nn.Parameter([1.0]), nn.Parameter([2.0])], {"params"})[0]["params"])
    2
    """
    if isinstance(params, Parameter | Mapping) or not isinstance(params, Iterable):
        got = type(params).__name__
        raise TypeError(
            f"params must be a list of parameters or of dicts, got {got}; expected model.parameters()"
        )
    given: list[Any] = list(params)
    if not given:
        raise ValueError("params is empty; expected at least one parameter")
    groups = []
    for number, entry in enumerate(given if isinstance(given[0], Mapping) else [{"params": given}]):
        if not isinstance(entry, Mapping) or "params" not in entry:
            raise TypeError(f"params[{number}] must be a dict with the key 'params', as params[0]")
        if not known.issuperset(entry):
            strange = sorted(set(entry) - known)
            raise ValueError(
                f"params[{number}] has {', '.join(strange)}; expected keys among {', '.join(sorted(known))}"
            )
        members = entry["params"]
        members = [members] if isinstance(members, Parameter) else list(members)
        for member in members:
            if not isinstance(member, Parameter):
                raise TypeError(f"params holds a {type(member).__name__}; expected nn.Parameter")
        groups.append({**entry, "params": members})
    return groups
