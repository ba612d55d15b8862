"""Where training runs: a backend compiles a model, a loss and an optimiser into a session of a few verbs.

`Trainer` knows nothing else of a device. On the CPU a session is one of the compiled core where model, loss
and optimiser are all nnrs's own, and a `PythonSession` with the same verbs otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nnrs import _core
from nnrs.arguments import check_choice
from nnrs.criterion import Criterion
from nnrs.nn.compiled import Compiled
from nnrs.nn.module import Module
from nnrs.optim import Optimizer
from nnrs.session import PythonSession

__all__ = ["Backend", "CpuBackend", "Options", "Session", "get_backend"]

Array = NDArray[Any]

# Rows go through a model in blocks of this size where its inputs are converted or read from a file.
_BLOCK_BYTES = 1 << 26


@dataclass(frozen=True)
class Options:
    """How a session trains.

    Attributes
    ----------
    seed : int
        Of shuffles and masks.
    clip_grad_norm, clip_grad_value : float or None
    keep_grad : bool
        Whether `.grad` holds the gradient after a step.

    Examples
    --------
    >>> from nnrs.backend import Options
    >>> Options(seed=0, clip_grad_norm=1.0)
    Options(seed=0, clip_grad_norm=1.0, clip_grad_value=None, keep_grad=False)
    """

    seed: int
    clip_grad_norm: float | None = None
    clip_grad_value: float | None = None
    keep_grad: bool = False


class Session(Protocol):
    """One training run over a model: gradients, then clipping and update.

    Attributes
    ----------
    global_step : int
        Steps done.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn, optim
    >>> from nnrs.backend import Options, get_backend
    >>> from nnrs.criterion import Criterion
    >>> model = nn.Sequential(nn.Linear(2, 1), seed=0)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
    >>> session = get_backend("cpu").compile(model, Criterion(nn.MSELoss()), optimizer, Options(seed=0))
    >>> loss = session.gradients(np.ones((3, 2), "float32"), np.ones(3, "float32"))
    >>> session.apply()
    >>> session.global_step
    1
    """

    global_step: int

    def step(self, x: Array, y: Array, sample_weight: Array | None = None) -> float:
        """Do one whole step; return the mean loss before the update."""
        ...

    def gradients(self, x: Array, y: Array, sample_weight: Array | None = None) -> float:
        """Compute the mean loss, and leave its gradient in the parameters."""
        ...

    def apply(self) -> None:
        """Clip the gradient and update the parameters."""
        ...

    def epoch(
        self,
        x: Array,
        y: Array,
        sample_weight: Array | None = None,
        *,
        batch_size: int,
        epoch: int,
        shuffle: bool = True,
        rows: NDArray[np.int64] | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> tuple[float, float]:
        """Do the steps of an epoch; return the sums of weight times loss and of weights."""
        ...


class Backend(Protocol):
    """A device.

    Examples
    --------
    >>> from nnrs.backend import Backend, get_backend
    >>> backend: Backend = get_backend("cpu")
    """

    def compile(self, model: Module, criterion: Criterion, optimizer: Any, options: Options) -> Session:
        """Bring model, loss and optimiser together."""
        ...

    def predict(self, model: Module, x: Array, rows: NDArray[np.int64] | None = None) -> Array:
        """Return the outputs of the model in evaluation mode."""
        ...

    def state(self, model: Module, optimizer: Any) -> dict[str, Any]:
        """Return the values of the model and the state of the optimiser, as copies."""
        ...


class CpuBackend:
    """The compiled core, and Python where a model, a loss or an optimiser is the user's own.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> from nnrs.backend import CpuBackend
    >>> CpuBackend().predict(nn.Sequential(nn.Linear(2, 3), seed=0), np.ones((4, 2), "float32")).shape
    (4, 3)
    """

    def compile(self, model: Module, criterion: Criterion, optimizer: Any, options: Options) -> Session:
        """Bring model, loss and optimiser together.

        Parameters
        ----------
        model : Module
        criterion : Criterion
        optimizer : nnrs's own optimiser, or any object with `step`
        options : Options

        Returns
        -------
        Session

        Raises
        ------
        ValueError
            If the optimiser's parameters are another model's, or a scaler has not learned yet.

        Examples
        --------
        >>> from nnrs import nn, optim
        >>> from nnrs.backend import CpuBackend, Options
        >>> from nnrs.criterion import Criterion
        >>> model = nn.Linear(2, 1)
        >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
        >>> session = CpuBackend().compile(model, Criterion(nn.MSELoss()), optimizer, Options(seed=0))
        >>> type(session).__name__
        'Session'
        """
        core = None
        if isinstance(optimizer, Optimizer):
            flat = model._join()
            core = optimizer.core()
            if flat is not optimizer.flat():
                raise ValueError("optimizer has not the model's parameters; expected model.parameters()")
        network = model.network if isinstance(model, Compiled) else None
        if network is None or criterion.core is None or core is None:
            return PythonSession(model, criterion, optimizer, options)
        return _core.Session(
            network,
            criterion.core,
            core,
            options.seed,
            options.clip_grad_norm,
            options.clip_grad_value,
            options.keep_grad,
        )

    def predict(self, model: Module, x: Array, rows: NDArray[np.int64] | None = None) -> Array:
        """Return the outputs of the model in evaluation mode: one call where all of `x` is at hand.

        Inputs that must be converted, gathered or read from a file go through in blocks, so that memory does
        not grow with the number of rows.

        Parameters
        ----------
        model : Module
        x : (batch, …) array
        rows : (n,) int64, optional
            Only these rows, in this order.

        Returns
        -------
        (batch, out_features) array

        Examples
        --------
        >>> import numpy as np
        >>> from nnrs import nn
        >>> from nnrs.backend import CpuBackend
        >>> CpuBackend().predict(nn.Linear(2, 3), np.zeros((5, 2), "float32")).shape
        (5, 3)
        """
        count = len(x) if rows is None else len(rows)
        native = isinstance(model, Compiled) and model.network is not None
        ready = native and rows is None and not isinstance(x, np.memmap) and x.dtype == model_dtype(model)
        size = max(1, _BLOCK_BYTES // max(1, x[:1].size * 8))
        if ready or count <= size:
            return _outputs(model, x if rows is None else x[rows])
        parts = [slice(start, start + size) for start in range(0, count, size)]
        return np.concatenate([_outputs(model, x[part if rows is None else rows[part]]) for part in parts])

    def state(self, model: Module, optimizer: Any) -> dict[str, Any]:
        """Return the values of the model and the state of the optimiser, as copies.

        Parameters
        ----------
        model : Module
        optimizer : object with `state_dict`

        Returns
        -------
        dict
            `model` and `optimizer`: what their `state_dict()` returns.

        Examples
        --------
        >>> from nnrs import nn, optim
        >>> from nnrs.backend import CpuBackend
        >>> model = nn.Linear(2, 1)
        >>> list(CpuBackend().state(model, optim.SGD(model.parameters(), lr=0.1)))
        ['model', 'optimizer']
        """
        return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}


def model_dtype(model: Module) -> str:
    """Return the dtype that a model computes in, "float32" where nothing says otherwise.

    Parameters
    ----------
    model : Module

    Returns
    -------
    str

    Examples
    --------
    >>> from nnrs import nn
    >>> from nnrs.backend import model_dtype
    >>> model_dtype(nn.Linear(2, 1, dtype="float64"))
    'float64'
    """
    if isinstance(model, Compiled):
        return model.dtype or "float32"
    first = next(iter(model.parameters()), None)
    return "float32" if first is None else first._dtype_name


def _outputs(model: Module, x: Array) -> Array:
    outputs: Array = model._read(x, None, lambda found: found)
    return outputs


_BACKENDS: dict[str, type[CpuBackend]] = {"cpu": CpuBackend}


def get_backend(device: str) -> Backend:
    """Return the backend of a device.

    Parameters
    ----------
    device : {"cpu"}

    Returns
    -------
    Backend

    Raises
    ------
    ValueError
        If the device is unknown.

    Examples
    --------
    >>> from nnrs.backend import get_backend
    >>> type(get_backend("cpu")).__name__
    'CpuBackend'
    """
    return _BACKENDS[check_choice("device", device, _BACKENDS)]()
