"""A list of modules inside a module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, overload

from nnrs.nn.module import Module

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ModuleList"]


class ModuleList(Module):
    """Modules by number, for a module of your own that calls them in its own way.

    Parameters
    ----------
    modules : iterable of Module

    Raises
    ------
    ValueError
        If a module is in another network already, or here twice.
    TypeError
        If one is no module.

    Notes
    -----
    torch's `torch.nn.ModuleList`. It has no forward; `Sequential` calls modules one after the other.

    Examples
    --------
    >>> from nnrs import nn
    >>> sizes = [4, 8, 3]
    >>> layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip(sizes, sizes[1:]))
    >>> len(layers), [name for name, _ in layers.named_parameters()]
    (2, ['0.weight', '0.bias', '1.weight', '1.bias'])
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end, and return the list."""
        return self.extend([module])

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add modules at the end, and return the list."""
        new = list(modules)
        check_modules(self, new, len(self))
        for module in new:
            setattr(self, str(len(self)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Module]: ...
    def __getitem__(self, index: int | slice) -> Module | Sequence[Module]:
        return list(self.children())[index]

    def __setitem__(self, index: int, module: Module) -> None:
        check_modules(self, [module], index)
        setattr(self, str(range(len(self))[index]), module)


def check_modules(holder: Module, modules: list[Any], start: int) -> None:
    """Refuse what is no module or has a place already, before the first one is taken."""
    seen: set[int] = set()
    for number, module in enumerate(modules, start):
        if not isinstance(module, Module):
            hint = "; give an object of it, not the class" if isinstance(module, type) else ""
            raise TypeError(f"module {number} is a {type(module).__name__}; expected an nn.Module{hint}")
        holder._check_free(str(number), module)
        inside = {id(part) for part in module.modules()}
        if inside & seen:
            raise ValueError(
                f"module {number} ({type(module).__name__}) is used twice; a module has one place in one "
                "network: copy.deepcopy it"
            )
        seen |= inside
