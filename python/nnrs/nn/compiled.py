"""Modules whose work is done in the core: single layers and whole models alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import ArrayLike, NDArray

from nnrs import _core
from nnrs import task as tasks
from nnrs.nn.module import Module
from nnrs.nn.parameter import Flat, join
from nnrs.nn.program import Clock, Own, Program, Run, group
from nnrs.random import resolve_seed

__all__ = ["Compiled"]

Array = NDArray[Any]


class Compiled(Module):
    """A module that compiles itself, and what it holds, for the core.

    It does so at the first call, and again when something changed that the core compiles in: the modules, the
    place of the parameters, `requires_grad`, a scaler's statistics. The values of parameters are not among
    these: they are read where they lie, at every call. `_version` counts the changes, so that others who
    compiled over the model (a training session) can tell by one comparison.
    """

    _TRANSIENT = (*Module._TRANSIENT, "_program")
    _program: Program | None = None
    _clock: Clock | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # A call goes straight to the code of forward; a class with its own forward is called the usual way.
        if "forward" in cls.__dict__ and "__call__" not in cls.__dict__:
            cls.__call__ = Module.__call__  # type: ignore[method-assign]

    def forward(self, x: ArrayLike) -> Array:
        """Compute the outputs.

        Parameters
        ----------
        x : (batch, in_features) or (in_features,) array
            Real numbers; converted to the model's dtype once, where they have another. Before `Flatten` more
            axes are allowed. In training mode it is held, not copied, until `backward`.

        Returns
        -------
        (batch, out_features) or (out_features,) array of the model's dtype

        Raises
        ------
        ValueError
            If the shape does not fit, or a scaler has not learned its statistics.
        TypeError
            If `x` holds no real numbers.
        RuntimeError
            "busy", if another thread is training this model.
        """
        program = self._program
        if program is None:
            program = self._compile()
        if not isinstance(x, ndarray):
            x = np.asarray(x)
        try:
            if self.training:
                return program.forward(x)
            return program.evaluate(x)
        except ValueError:
            if x.ndim > 2 and program.run is not None and not program.run.flattens:
                raise program.run.too_many_axes(x) from None
            raise

    __call__ = forward

    def backward(self, dout: ArrayLike, *, need_dx: bool = True) -> Array:
        """Add into the gradients of the parameters, and return the gradient with respect to the input.

        Parameters
        ----------
        dout : array of the shape of the outputs
            Gradient of the loss with respect to the outputs of the last forward in training mode.
        need_dx : bool
            False saves the work for the gradient of the input, and returns None.

        Returns
        -------
        array of the input's shape

        Raises
        ------
        RuntimeError
            If no forward in training mode came before.
        ValueError
            If the shape does not fit, or a module has no derivative.
        """
        program = self._program
        if program is None:
            program = self._compile()
        if not isinstance(dout, ndarray):
            dout = np.asarray(dout)
        return program.backward(dout, need_dx)  # type: ignore[return-value]

    @property
    def dtype(self) -> str | None:
        """What the model computes in, "float32" or "float64"; None follows the input: no parameters."""
        return self._outermost()._own_dtype()

    @property
    def in_features(self) -> int | None:
        """Number of input features, or None where any number will do."""
        first = self._parts()[0]
        return first.in_features if isinstance(first, Run) else None

    @property
    def out_features(self) -> int | None:
        """Number of output features, or None where it follows the inputs."""
        last = self._parts()[-1]
        return last.out_features if isinstance(last, Run) else None

    @property
    def network(self) -> _core.Network | None:
        """The whole as one network of the core; None if it holds a module of the user's, or no Linear."""
        return (self._program or self._compile()).network

    @property
    def seed(self) -> int:
        """What the masks of dropout are keyed by, with the number of training forwards."""
        return self._get_clock().seed

    def _leaves(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Modules that run, in order, with their paths."""
        raise NotImplementedError

    def _parts(self) -> list[Run | Own]:
        return group(list(self._leaves()), None) if self._program is None else self._program.parts

    def _in_core(self) -> bool:
        # A subclass with a forward of its own is the user's module, whatever it inherits.
        kind = type(self)
        return kind.forward is Compiled.forward and kind.backward is Compiled.backward

    def _compile(self) -> Program:
        leaves = list(self._leaves())
        flat = self._join() if next(self.parameters(), None) is not None else None
        masking = [module for _, module in leaves if getattr(module, "_masks", False)]
        clock = self._get_clock() if masking else None
        program = Program(leaves, self.dtype, flat, clock, self._modes(masking))
        self.__dict__["_program"] = program
        return program

    def _modes(self, masking: list[Any]) -> tuple[bool, ...] | None:
        modes = tuple(module.training for module in masking)
        return None if all(mode == self.training for mode in modes) else modes

    def _check_modes(self) -> None:
        program = self._program
        if program is not None and self._modes(program.dropouts) != program.modes:
            self._changed()

    def _get_clock(self) -> Clock:
        if self._clock is None:
            self.__dict__["_clock"] = Clock(resolve_seed(None))
        clock = self._clock
        assert clock is not None
        return clock

    def _forget(self) -> None:
        self.__dict__["_program"] = None

    def _restored(self) -> None:
        self._join()

    def _own_dtype(self) -> str | None:
        first = next(self.parameters(), None)
        return None if first is None else first._dtype_name

    def _outermost(self) -> Compiled:
        """Return the whole that this is compiled into."""
        top: Compiled = self
        while isinstance(above := top._holder(), Compiled):
            top = above
        return top

    def _join(self) -> Flat:
        # Parameters of a whole model stay together, also where a part of it is called alone.
        own, dtype = list(self.parameters()), self.dtype
        first = own[0]._flat if own else None
        if first is not None and first.dtype == dtype and all(p._flat is first for p in own):
            return first
        return join(list(self._outermost().parameters()), dtype)

    def _features(self, x: Any) -> Array:
        """Return inputs as the network takes them: (batch, in_features) or (in_features,)."""
        array = np.asarray(x)
        run = (self._program or self._compile()).run
        return array if run is None else run.rows(array)

    def _read(self, x: Any, batch_size: int | None, meaning: Callable[[Array], Any]) -> Any:
        # Layers of the core alone evaluate without a look at modes: no thread disturbs another.
        program = self._program or self._compile()
        if program.run is None:
            return super()._read(x, batch_size, meaning)
        return tasks.read(program.predict, x, self.feature_names_, batch_size, meaning)

    def _ending(self) -> str | None:
        leaves = [module for _, module in self._leaves()]
        while leaves and getattr(leaves[-1], "_is_nothing", False):
            leaves.pop()
        return getattr(leaves[-1], "_ends_in", None) if leaves else None
