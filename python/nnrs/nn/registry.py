"""What a module holds by name: parameters, buffers and modules inside it, and who holds the module.

Assigning to an attribute registers. A module and a parameter have one holder at most, because a module keeps
what its backward needs: used at two places it would mix them up. What changes below is told upwards, so that
whatever was compiled over it is compiled anew.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs.nn.parameter import Parameter

if TYPE_CHECKING:
    from typing_extensions import Self

    from nnrs.nn.module import Module

__all__ = ["Registry"]

Array = NDArray[Any]


class Registry:
    """The tree below a module; `Module` builds on it."""

    # Attributes that neither a copy nor a pickle takes along.
    _TRANSIENT: ClassVar[tuple[str, ...]] = ("_owner",)

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Array | None]
    _modules: dict[str, Module | None]
    _owner: weakref.ref[Registry] | None
    _version: int

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Make what holds the names: a subclass need not call `super().__init__()`."""
        self = super().__new__(cls)
        self.__dict__.update(training=True, _parameters={}, _buffers={}, _modules={}, _owner=None, _version=0)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._register(self._parameters, name, value)
        elif isinstance(value, Registry):
            self._register(self._modules, name, value)
        elif name in self._parameters or name in self._modules:
            self._replace(name, value)
        elif name in self._buffers:
            self.register_buffer(name, value)
        else:
            object.__setattr__(self, name, value)
            if name == "training":
                self._modes_changed()

    def __delattr__(self, name: str) -> None:
        for kind in (self._parameters, self._modules, self._buffers):
            if name in kind:
                _release(kind.pop(name))
                self._changed()
        object.__delattr__(self, name)

    def register_buffer(self, name: str, array: ArrayLike | None) -> None:
        """Hold an array that belongs to the module's state but is not trained.

        Parameters
        ----------
        name : str
            Attribute under which it is found, and its name in `state_dict`.
        array : array_like or None
            None reserves the name: the array comes later, by assignment or `load_state_dict`.

        Raises
        ------
        ValueError
            If `name` is no attribute name.
        TypeError
            If `array` holds objects.

        Examples
        --------
        >>> from nnrs import nn
        >>> module = nn.Module()
        >>> module.register_buffer("count", [0])
        >>> module.count, list(module.state_dict())
        (array([0]), ['count'])
        """
        self._check_name(name)
        value = None if array is None else np.asarray(array)
        if value is not None and value.dtype.kind == "O":
            raise TypeError(f"buffer {name!r} has dtype object; expected an array of numbers")
        for other in (self._parameters, self._modules):
            _release(other.pop(name, None))
        self._buffers[name] = value
        object.__setattr__(self, name, value)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Iterate over the modules held directly, with their names."""
        for name, module in self._modules.items():
            if module is not None:
                yield name, module

    def children(self) -> Iterator[Module]:
        """Iterate over the modules held directly."""
        for _, module in self.named_children():
            yield module

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Iterate over this module and all below it, with their paths; its own path is `prefix`."""
        yield prefix, self  # type: ignore[misc]
        for name, module in self.named_children():
            yield from module.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """Iterate over this module and all below it."""
        yield self  # type: ignore[misc]
        for module in self._modules.values():
            if module is not None:
                yield from module.modules()

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Iterate over all parameters with their paths, in the order in which they lie in the buffer."""
        for path, module in self.named_modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    yield f"{path}.{name}" if path else name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """Iterate over all parameters, in the order in which they lie in the buffer."""
        for module in self.modules():
            for parameter in module._parameters.values():
                if parameter is not None:
                    yield parameter

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """Iterate over all buffers that hold an array, with their paths."""
        for path, module in self.named_modules():
            for name, array in module._buffers.items():
                if array is not None:
                    yield f"{path}.{name}" if path else name, array

    def buffers(self) -> Iterator[Array]:
        """Iterate over all buffers that hold an array."""
        for _, array in self.named_buffers():
            yield array

    def __copy__(self) -> Self:
        raise TypeError(
            f"a {type(self).__name__} has no shallow copy: a module has one place; copy.deepcopy it"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in self._TRANSIENT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for held in (*self._parameters.values(), *self._modules.values()):
            if held is not None:
                _claim(held, self)
        self._restored()

    def _restored(self) -> None:
        """Run after copying or unpickling."""

    def _forget(self) -> None:
        """Drop what was compiled over the tree as it was."""

    def _modes_changed(self) -> None:
        """Run after `training` was set."""

    def _changed(self) -> None:
        """Tell this module and all that hold it that what they compiled is out of date."""
        module: Registry | None = self
        while module is not None:
            module.__dict__["_version"] += 1
            module._forget()
            module = module._holder()

    def _register(self, kind: dict[str, Any], name: str, value: Any) -> None:
        self._check_name(name)
        self._check_free(name, value)
        for other in (self._parameters, self._modules, self._buffers):
            held = other.pop(name, None) if other is not kind else other.get(name)
            if held is not value:
                _release(held)
        kind[name] = value
        object.__setattr__(self, name, value)
        _claim(value, self)
        self._changed()

    def _replace(self, name: str, value: Any) -> None:
        # A name once registered keeps its kind, so that a stray array does not silently end its training.
        kind: dict[str, Any] = self._parameters if name in self._parameters else self._modules
        if value is not None:
            wanted = "an nn.Parameter" if name in self._parameters else "an nn.Module"
            hint = f"; write into {name}.data to change its values" if name in self._parameters else ""
            raise TypeError(f"{name} must be {wanted} or None, got {type(value).__name__}{hint}")
        _release(kind[name])
        kind[name] = None
        object.__setattr__(self, name, None)
        self._changed()

    def _check_free(self, name: str, value: Parameter | Registry) -> None:
        """Refuse what has a holder already, and a module that would hold itself."""
        what = "parameter" if isinstance(value, Parameter) else "module"
        holder = value._holder()
        if holder is not None and not (holder is self and self.__dict__.get(name) is value):
            raise ValueError(
                f"{what} {name!r} is {holder._path_of(value)!r} of a {type(holder).__name__} already; "
                f"a {what} has one place in one network: copy.deepcopy it"
            )
        above: Registry | None = self
        while above is not None:
            if above is value:
                raise ValueError(f"module {name!r} would hold itself; copy.deepcopy it")
            above = above._holder()

    def _check_name(self, name: str) -> None:
        if not name or "." in name:
            raise ValueError(f"name is {name!r}; expected an attribute name, without a dot")

    def _holder(self) -> Registry | None:
        """Return the module that holds this one, or None."""
        return None if self._owner is None else self._owner()

    def _path_of(self, held: Parameter | Registry) -> str:
        """Path of something held directly, seen from the outermost module."""
        kind: dict[str, Any] = self._parameters if isinstance(held, Parameter) else self._modules
        name = next((name for name, value in kind.items() if value is held), "")
        holder = self._holder()
        return name if holder is None else f"{holder._path_of(self)}.{name}"


def _claim(held: Parameter | Registry, holder: Registry) -> None:
    owner = weakref.ref(holder)
    if isinstance(held, Parameter):
        held._owner = owner
    else:
        held.__dict__["_owner"] = owner


def _release(held: Any) -> None:
    if isinstance(held, Parameter):
        held._owner = None
    elif isinstance(held, Registry):
        held.__dict__["_owner"] = None
