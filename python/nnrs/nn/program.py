"""A tree of modules, compiled: runs of nnrs's layers as networks in the core, the user's modules between.

A model of nnrs's modules alone is one run: a prediction, a forward, a backward is one call into the core.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnrs import _core
from nnrs.nn.parameter import Flat

if TYPE_CHECKING:
    from nnrs.nn.layer import Layer
    from nnrs.nn.module import Module

__all__ = ["Clock", "Program", "Run", "check_order"]

Array = NDArray[Any]


class Clock:
    """What the masks of dropout are keyed by: a seed, and the number of training forwards so far."""

    __slots__ = ("seed", "step")

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.step = 0


class Run:
    """Consecutive modules that the core knows.

    Parameters
    ----------
    layers : sequence of (path, Layer)
    dtype : str or None
        None follows the input: there are no parameters whose dtype counts.
    """

    def __init__(self, layers: Sequence[tuple[str, Layer]], dtype: str | None) -> None:
        self.layers = layers
        self.dtype = dtype
        self.in_features, self.out_features = chain(layers)
        first = next((i for i, (_, layer) in enumerate(layers) if not layer._elementwise), len(layers))
        # What works on each element alone does not mind being flattened before instead of after.
        self.flattens = any(layer._flattens for _, layer in layers[: first + 1])
        self.dropouts = [layer for _, layer in layers if layer._masks]
        self.computes = False
        self._flat: Flat | None = None
        self._numbers: dict[Layer, int] = {}
        self._networks: dict[tuple[str, int], _core.Network] = {}
        # The network of the last forward, the shape of its inputs, and its dtype.
        self._running: tuple[_core.Network | None, tuple[int, ...], str] | None = None

    def compile(self, flat: Flat | None, dropouts: dict[Layer, int]) -> None:
        """Take over where the parameters lie; `dropouts` numbers those that are active."""
        self._flat, self._numbers = flat, dropouts
        self.computes = bool(self.stages(self.dtype or "float64"))

    def network(self, dtype: str, in_features: int) -> _core.Network:
        """Return the network for inputs of this width."""
        key = (dtype, in_features)
        found = self._networks.get(key)
        if found is None:
            flat = self._flat if self._flat is not None else Flat(dtype, 0)
            found = _core.Network(dtype, in_features, self.stages(dtype), flat.parameters, flat.gradients)
            self._networks[key] = found
        return found

    def stages(self, dtype: str) -> list[tuple[Any, ...]]:
        """Return what the core runs, in order."""
        active = self._numbers
        found = [
            layer._stage(path, dtype, active.get(layer, 0))
            for path, layer in self.layers
            if not layer._masks or layer in active
        ]
        return [stage for stage in found if stage is not None]

    def predict(self, x: Array) -> Array:
        """Compute in evaluation mode, keeping nothing."""
        rows = self.rows(x)
        return self._network_of(rows).predict(rows) if self.computes else rows

    def forward(self, x: Array, clock: Clock | None) -> Array:
        """Compute in training mode, keeping what backward needs."""
        rows = self.rows(x)
        network = self._network_of(rows) if self.computes else None
        out = rows
        if network is not None:
            if clock is None or not self.dropouts:
                out = network.forward(rows)
            else:
                out = network.forward(rows, clock.seed, clock.step)
        self._running = (network, x.shape, str(out.dtype))
        return out

    def backward(self, dout: Array, need_dx: bool) -> Array | None:
        """Add into the gradients; return the gradient of the input."""
        if self._running is None:
            raise no_forward()
        network, shape, dtype = self._running
        dx: Array | None = dout
        if network is not None:
            # A module of the user's behind this run may well work in float64.
            dx = network.backward(dout.astype(dtype, copy=False), need_dx)
        self._running = None
        return None if dx is None else dx.reshape(shape)

    def forget(self) -> None:
        """Drop what the last forward kept."""
        if self._running is not None and self._running[0] is not None:
            self._running[0].forget()
        self._running = None

    def rows(self, x: Array) -> Array:
        """Return the inputs as (batch, features)."""
        if x.ndim <= 2:
            return x
        if not self.flattens:
            raise self.too_many_axes(x)
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def too_many_axes(self, x: Array) -> ValueError:
        """Return the error of inputs of more than 2 axes where nothing flattens them."""
        return ValueError(
            f"x has shape {x.shape}; expected (batch, {self.in_features or 'features'}): "
            "put nn.Flatten() first for inputs of more than 2 axes"
        )

    def _network_of(self, rows: Array) -> _core.Network:
        dtype = self.dtype or ("float32" if rows.dtype == np.float32 else "float64")
        if self.in_features is not None:
            return self.network(dtype, self.in_features)
        if rows.ndim == 0:
            raise ValueError("x has shape (); expected (batch, features)")
        return self.network(dtype, rows.shape[-1])


class Own:
    """A module of the user's, between runs.

    Parameters
    ----------
    path : str
    module : Module
    """

    def __init__(self, path: str, module: Module) -> None:
        self.label = f"module {path!r} ({type(module).__name__})"
        self.module = module
        self._shape: tuple[int, ...] | None = None

    def predict(self, x: Array) -> Array:
        """Call the module, which knows its mode itself."""
        return self._array("forward", self.module(x))

    def forward(self, x: Array, clock: Clock | None) -> Array:  # noqa: ARG002
        """Call the module."""
        self._shape = None
        out = self._array("forward", self.module(x))
        self._shape = x.shape
        return out

    def backward(self, dout: Array, need_dx: bool) -> Array | None:  # noqa: ARG002
        """Call the module's backward and look at what comes out."""
        shape, self._shape = self._shape, None
        if shape is None:
            raise no_forward()
        dx = self._array("backward", self.module.backward(dout))
        if dx.shape != shape:
            raise ValueError(
                f"backward of {self.label} returned shape {dx.shape}; expected {shape}, its input's"
            )
        return dx

    def forget(self) -> None:
        """Drop what the last forward kept."""
        self._shape = None

    def _array(self, method: str, value: Any) -> Array:
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{method} of {self.label} returned {type(value).__name__}; expected an array")
        return value


class Program:
    """The compiled form of a module.

    Parameters
    ----------
    leaves : sequence of (path, module)
        What runs, in order: nnrs's own layers, and whole modules of the user's.
    dtype : str or None
    flat : Flat or None
        Where the parameters lie.
    clock : Clock or None
    modes : tuple of bool or None
        Mode of each dropout, where they are not all in that of the whole.

    Attributes
    ----------
    predict, forward, evaluate, backward
        Evaluation; training; what a call does in evaluation mode (dropouts that were put in training mode
        one by one stay on); gradients. For a model that is one network the core's own functions.
    run : Run or None
        All of it, if nothing of the user's is between.
    network : Network or None
        The same as one network, if the number of input features is known.
    """

    __slots__ = (
        "_clock",
        "_ready",
        "backward",
        "dropouts",
        "evaluate",
        "flattens",
        "forward",
        "modes",
        "network",
        "parts",
        "predict",
        "run",
    )

    predict: Callable[[Array], Array]
    forward: Callable[[Array], Array]
    evaluate: Callable[[Array], Array]
    backward: Callable[[Array, bool], Array | None]

    def __init__(
        self,
        leaves: Sequence[tuple[str, Module]],
        dtype: str | None,
        flat: Flat | None,
        clock: Clock | None,
        modes: tuple[bool, ...] | None,
    ) -> None:
        self.parts: list[Run | Own] = group(leaves, dtype)
        self._clock = clock
        # Whether every part kept what the last forward left for one backward.
        self._ready = False
        self.modes = modes
        runs = [part for part in self.parts if isinstance(part, Run)]
        self.dropouts = [layer for run in runs for layer in run.dropouts]
        active = {
            layer: number for number, layer in enumerate(self.dropouts) if modes is None or modes[number]
        }
        for run in runs:
            run.compile(flat, active)
        first = self.parts[0]
        self.run: Run | None = first if isinstance(first, Run) and len(self.parts) == 1 else None
        self.flattens = isinstance(first, Run) and first.flattens
        self.network: _core.Network | None = None
        self.predict, self.forward, self.backward = self._predict, self._forward, self._backward
        whole = self.run
        if whole is not None and whole.computes and whole.in_features is not None and whole.dtype is not None:
            network = self.network = whole.network(whole.dtype, whole.in_features)
            if not whole.flattens and not whole.dropouts:
                self.predict, self.forward, self.backward = network.predict, network.forward, network.backward
            elif not whole.flattens:
                self.predict = network.predict
        if not all(layer._trains for run in runs for _, layer in run.layers):
            self.backward = _refuse
        self.evaluate = self._sample if modes is not None and any(modes) else self.predict

    def _predict(self, x: Array) -> Array:
        for part in self.parts:
            x = part.predict(x)
        return x

    def _forward(self, x: Array) -> Array:
        clock = self._clock
        self._ready = False
        for part in self.parts:
            x = part.forward(x, clock)
        self._ready = True
        if clock is not None:
            clock.step += 1
        return x

    def _backward(self, dout: Array, need_dx: bool = True) -> Array | None:
        if not self._ready:
            raise no_forward()
        first = len(self.parts) - 1
        d = self.parts[first].backward(dout, need_dx or first > 0)
        # What fails before this line has written nothing, and may be tried again.
        self._ready = False
        for number in range(first - 1, -1, -1):
            assert d is not None
            d = self.parts[number].backward(d, need_dx or number > 0)
        return d if need_dx else None

    def _sample(self, x: Array) -> Array:
        out = self._forward(x)
        self._ready = False
        for part in self.parts:
            part.forget()
        return out


def group(leaves: Sequence[tuple[str, Module]], dtype: str | None) -> list[Run | Own]:
    """Return runs of layers that the core knows, and the user's modules between them."""
    parts: list[Run | Own] = []
    pending: list[tuple[str, Layer]] = []
    for path, module in leaves:
        if _is_layer(module):
            pending.append((path, module))  # type: ignore[arg-type]
            continue
        if pending:
            parts.append(Run(pending, dtype))
            pending = []
        parts.append(Own(path, module))
    if pending or not parts:
        parts.append(Run(pending, dtype))
    return parts


def check_order(leaves: Sequence[tuple[str, Module]]) -> None:
    """Refuse layers whose widths do not fit, and a scaler that is not first."""
    for number, (path, module) in enumerate(leaves):
        before = leaves[:number]
        if getattr(module, "_scales", False) and not all(_changes_nothing(leaf) for _, leaf in before):
            raise ValueError(
                f"module {path!r} ({type(module).__name__}) comes after module {before[-1][0]!r}; "
                "a scaler comes first in the model, and there is one"
            )
    group(leaves, None)


def chain(layers: Sequence[tuple[str, Layer]]) -> tuple[int | None, int | None]:
    """Return how many features go into and come out of layers; None where any number does."""
    first: int | None = None
    width: int | None = None
    given_by = ""
    for path, layer in layers:
        wanted = layer._features_in()
        if wanted is not None:
            if width is not None and wanted != width:
                raise ValueError(
                    f"module {path!r} ({type(layer).__name__}) takes {wanted} features; "
                    f"expected {width}, which {given_by} gives"
                )
            first = wanted if width is None else first
            width, given_by = layer._features_out(wanted), f"module {path!r} ({type(layer).__name__})"
    return first, width


def no_forward() -> RuntimeError:
    """Return the error of a backward that nothing came before."""
    return RuntimeError(
        "backward without a forward before it: call the model in training mode first, once for each backward"
    )


def _is_layer(module: Module) -> bool:
    from nnrs.nn.layer import Layer

    return isinstance(module, Layer) and module._in_core()


def _changes_nothing(module: Module) -> bool:
    return _is_layer(module) and bool(getattr(module, "_is_nothing", False))


def _refuse(dout: Array, need_dx: bool = True) -> Array | None:  # noqa: ARG001
    raise ValueError(
        "nn.Step has no derivative to train with: leave it out while training (PerceptronLoss takes the "
        "scores before it), or take nn.Sigmoid"
    )
