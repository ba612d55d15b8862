"""What all optimisers share: groups of parameters, the compiled optimiser, its state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nnrs import _core
from nnrs.nn.parameter import Flat, Parameter, join
from nnrs.optim.group import ParamGroup, Params, read_groups

__all__ = ["Optimizer"]


class Optimizer(ABC):
    """What all optimisers share.

    Attributes
    ----------
    param_groups : list of ParamGroup
        Each with `params` and the settings of the optimiser; write to change them.
    defaults : dict
        Settings of a group that gives none of its own.

    Examples
    --------
    >>> from nnrs import nn, optim
    >>> isinstance(optim.Adam([nn.Parameter([1.0])]), optim.Optimizer)
    True
    """

    _kind: ClassVar[str]
    _slots: ClassVar[tuple[str, ...]]

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._optimizer: _core.Optimizer | None = None
        self._flat: Flat | None = None
        self._places: list[tuple[int, bool]] = []
        groups = read_groups(params, {*defaults, "params", "name"})
        self.param_groups = [ParamGroup(self, n, {**defaults, **group}) for n, group in enumerate(groups)]
        self._params = [p for group in self.param_groups for p in group["params"]]
        if len({id(p) for p in self._params}) != len(self._params):
            raise ValueError("params holds a parameter twice; expected each one in one group")

    def step(self) -> None:
        """Update every parameter from its gradient: one call into the core.

        Examples
        --------
        >>> from nnrs import nn, optim
        >>> weight = nn.Parameter([1.0])
        >>> weight.grad = [2.0]
        >>> optim.SGD([weight], lr=0.25).step()
        >>> weight.data
        array([0.5])
        """
        self.core().step()

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to zero."""
        for parameter in self._params:
            parameter.zero_grad()

    def core(self) -> _core.Optimizer:
        """Return the compiled optimiser over the buffer that the parameters lie in now.

        Parameters that do not lie in one buffer yet move into one. Where they have moved since the last call,
        or one was frozen or thawed, the compiled optimiser is made anew and takes its state along.

        Returns
        -------
        nnrs._core.Optimizer
        """
        flat = self._flat
        places = [(p._offset, p._requires_grad) for p in self._params]
        if (
            self._optimizer is None
            or places != self._places
            or any(p._flat is not flat for p in self._params)
        ):
            self._rebuild()
        assert self._optimizer is not None
        return self._optimizer

    def flat(self) -> Flat:
        """Return the buffers that the parameters lie in, after moving them there if need be."""
        self.core()
        assert self._flat is not None
        return self._flat

    def _rebuild(self) -> None:
        before = None if self._optimizer is None else self._state_arrays()
        flat = join(self._params)
        segments = [
            (p._offset, p.size, number)
            for number, group in enumerate(self.param_groups)
            for p in group["params"]
            if p.requires_grad
        ]
        values = [self._core_values(group) for group in self.param_groups]
        new = _core.Optimizer(self._kind, flat.parameters, flat.gradients, segments, values)
        if before is not None and self._optimizer is not None:
            new.step_count = self._optimizer.step_count
            new.set_powers(self._optimizer.powers())
            for name, arrays in before.items():
                _fill(new.state(name), self._params, arrays)
        self._optimizer, self._flat = new, flat
        self._places = [(p._offset, p._requires_grad) for p in self._params]

    def _state_arrays(self) -> dict[str, list[NDArray[Any]]]:
        """Return a copy of every slot, an array a parameter, from the places the compiled optimiser knows."""
        assert self._optimizer is not None
        found = {}
        for name in self._optimizer.state_names():
            flat = self._optimizer.state(name)
            found[name] = [
                flat[offset : offset + p.size].reshape(p.shape).copy()
                for p, (offset, _) in zip(self._params, self._places, strict=True)
            ]
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the state in torch's form.

        Returns
        -------
        dict
            `state`: by number of the parameter its `step` and slots (copies, of the parameter's shape), empty
            before the first step; `param_groups`: the settings, with numbers for parameters; `powers`: the
            running products of the betas, (groups, 2) float64, by which a run goes on bit for bit.
        """
        core = self.core()
        numbers = iter(range(len(self._params)))
        groups = [
            {**group, "params": [next(numbers) for _ in group["params"]]} for group in self.param_groups
        ]
        state: dict[int, dict[str, Any]] = {}
        if core.step_count:
            slots = self._state_arrays()
            for number in range(len(self._params)):
                state[number] = {"step": core.step_count, **{name: slots[name][number] for name in slots}}
        return {"state": state, "param_groups": groups, "powers": core.powers()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned. Nothing is written before all of it is checked.

        Parameters
        ----------
        state_dict : dict
            Of an optimiser of the same class over parameters of the same shapes. Without `powers` they are
            computed from the number of steps.

        Raises
        ------
        TypeError, ValueError
            If groups, parameters, shapes or settings do not fit.
        """
        for key in ("state", "param_groups"):
            if key not in state_dict:
                raise ValueError(
                    f"state_dict has no {key!r}; expected what an optimiser's state_dict() returned"
                )
        state, groups = state_dict["state"], state_dict["param_groups"]
        sizes, own = [len(g["params"]) for g in groups], [len(g["params"]) for g in self.param_groups]
        if sizes != own:
            raise ValueError(f"state_dict has groups of {sizes} parameters; expected {own}")
        checked = [
            self._checked({**new, "params": old["params"]})
            for new, old in zip(groups, self.param_groups, strict=True)
        ]
        steps = {int(entry["step"]) for entry in state.values()}
        if len(steps) > 1 or (state and len(state) != len(self._params)):
            raise ValueError(
                "state_dict has parameters at different steps; expected one number of steps for all"
            )
        step = steps.pop() if steps else 0
        slots = self._checked_slots(state)
        powers = (
            np.array(state_dict["powers"], np.float64) if "powers" in state_dict else _powers(checked, step)
        )
        if powers.shape != (len(groups), 2):
            raise ValueError(f"powers has shape {powers.shape}; expected ({len(groups)}, 2)")
        core = self.core()
        for number, values in enumerate(checked):
            self._send(number, values)
            dict.update(self.param_groups[number], values)
        core.step_count = step
        core.set_powers(powers)
        for name in core.state_names():
            _fill(core.state(name), self._params, slots.get(name))

    def _checked_slots(self, state: Mapping[int, Mapping[str, Any]]) -> dict[str, list[NDArray[Any]]]:
        slots: dict[str, list[NDArray[Any]]] = {}
        for number, parameter in enumerate(self._params if state else []):
            for name, value in state[number].items():
                if name == "step" or value is None:
                    continue
                if name not in self._slots:
                    raise ValueError(f"state_dict has the slot {name!r}; expected {', '.join(self._slots)}")
                array = np.asarray(value)
                if array.shape != parameter.shape:
                    raise ValueError(
                        f"{name} of parameter {number} has shape {array.shape}; expected {parameter.shape}"
                    )
                slots.setdefault(name, []).append(array)
        for name, arrays in slots.items():
            if len(arrays) != len(self._params):
                raise ValueError(
                    f"state_dict has {name} for {len(arrays)} parameters; expected {len(self._params)}"
                )
        return slots

    @abstractmethod
    def _checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a group with every setting checked and made a plain Python number."""

    def _core_values(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a group by the core's names."""
        return {name: group[name] for name in self.defaults}

    def _send(self, number: int, values: Mapping[str, Any]) -> None:
        if self._optimizer is not None:
            self._optimizer.set_group(number, self._core_values(values))

    def __getstate__(self) -> dict[str, Any]:
        return {
            "groups": [dict(group) for group in self.param_groups],
            "defaults": self.defaults,
            "state": self.state_dict(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        Optimizer.__init__(self, state["groups"], state["defaults"])
        self.load_state_dict(state["state"])

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}("]
        for number, group in enumerate(self.param_groups):
            values = ", ".join(f"{name}={group[name]!r}" for name in self.defaults)
            lines.append(f"  group {number}: {len(group['params'])} parameters, {values}")
        return "\n".join([*lines, ")"])


def _fill(flat: NDArray[Any], params: list[Parameter], arrays: list[NDArray[Any]] | None) -> None:
    for number, p in enumerate(params):
        flat[p._offset : p._offset + p.size] = 0 if arrays is None else arrays[number].reshape(-1)


def _powers(groups: list[dict[str, Any]], step: int) -> NDArray[np.float64]:
    powers = np.ones((len(groups), 2))
    betas = np.array([group.get("betas", (1.0, 1.0)) for group in groups])
    for _ in range(step):
        powers *= betas
    return powers
