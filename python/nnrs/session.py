"""Training steps in Python: for models, losses and optimisers that are, in part, the user's own."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnrs.criterion import Criterion
from nnrs.epoch import cut, run_batches, shuffled_rows
from nnrs.nn.compiled import Compiled
from nnrs.nn.module import Module
from nnrs.random import derive_seed

if TYPE_CHECKING:
    from nnrs.backend import Options

__all__ = ["PythonSession"]

Array = NDArray[Any]


class PythonSession:
    """The verbs of `_core.Session` over `forward`, `backward`, `value_and_grad` and `step` of Python objects.

    Parameters
    ----------
    model : Module
    criterion : Criterion
    optimizer : object with `step()`
    options : Options

    Attributes
    ----------
    global_step : int
        Steps done.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn, optim
    >>> from nnrs.backend import Options
    >>> from nnrs.criterion import Criterion
    >>> from nnrs.session import PythonSession
    >>> model = nn.Linear(2, 1)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
    >>> session = PythonSession(model, Criterion(nn.MSELoss()), optimizer, Options(seed=0))
    >>> first = session.step(np.ones((3, 2), "float32"), np.ones(3, "float32"))
    >>> session.step(np.ones((3, 2), "float32"), np.ones(3, "float32")) < first
    True
    """

    def __init__(self, model: Module, criterion: Criterion, optimizer: Any, options: Options) -> None:
        self.global_step = 0
        self._model = model
        self._criterion = criterion
        self._optimizer = optimizer
        self._options = options
        self._parameters = list(model.parameters())
        self._dtype = np.dtype(self._parameters[0]._dtype_name if self._parameters else "float32")
        # Modules that key masks of dropout, each by a clock of its own; of a whole Sequential the first.
        self._clocked = [m for m in model.modules() if isinstance(m, Compiled) and _masks(m)]
        self._lock = threading.Lock()

    def step(self, x: Array, y: Array, sample_weight: Array | None = None) -> float:
        """Do one whole step.

        Parameters
        ----------
        x : (batch, …) array
        y : (batch, …) array
        sample_weight : (batch,) float, optional

        Returns
        -------
        float
            The mean loss before the update.

        Raises
        ------
        RuntimeError
            "busy" if another thread is training through this session; if the loss is not finite, and then
            nothing of the step is written.
        """
        with self._busy():
            loss = self._gradients(x, y, sample_weight)
            self._apply()
        return loss

    def gradients(self, x: Array, y: Array, sample_weight: Array | None = None) -> float:
        """Compute the mean loss, and leave its gradient in the parameters.

        Parameters
        ----------
        x, y, sample_weight
            As in `step`.

        Returns
        -------
        float

        Raises
        ------
        RuntimeError
            As `step`.
        """
        with self._busy():
            return self._gradients(x, y, sample_weight)

    def apply(self) -> None:
        """Clip the gradient and update the parameters."""
        with self._busy():
            self._apply()

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
        """Do the steps of an epoch, over the same rows in the same order as the core's session.

        Parameters
        ----------
        x, y, sample_weight
            As in `step`, all rows.
        batch_size, epoch : int
        shuffle : bool
        rows : (n,) int64, optional
            Only these rows.
        progress : function (rows done, mean loss so far), optional
            Called at most every 50 ms.

        Returns
        -------
        (float, float)
            Sum of weight times loss, and sum of weights.

        Raises
        ------
        RuntimeError
            As `step`.
        """
        order = shuffled_rows(self._options.seed, epoch, len(x), rows) if shuffle else rows
        batches = cut(x, y, sample_weight, order, batch_size)
        return run_batches(self.step, batches, self._criterion.weigh, progress=progress)

    @contextmanager
    def _busy(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("busy: another thread is training this model")
        try:
            yield
        finally:
            self._lock.release()

    def _gradients(self, x: Array, y: Array, sample_weight: Array | None) -> float:
        with self._training():
            for number, module in enumerate(self._clocked):
                clock = module._get_clock()
                clock.seed, clock.step = derive_seed(self._options.seed, number), self.global_step
            outputs = self._model(x if x.dtype == self._dtype else x.astype(self._dtype))
            loss, gradient = self._criterion.value_and_grad(outputs, y, sample_weight)
            if not math.isfinite(loss):
                raise RuntimeError(
                    f"the loss is {loss} at step {self.global_step}; nothing of this step was written"
                )
            for parameter in self._parameters:
                parameter.zero_grad()
            self._model.backward(gradient)
        return loss

    @contextmanager
    def _training(self) -> Iterator[None]:
        modes = [(module, module.training) for module in self._model.modules()]
        if all(training for _, training in modes):
            yield
            return
        self._model.train()
        try:
            yield
        finally:
            self._model._set_modes(modes)

    def _apply(self) -> None:
        options = self._options
        if options.clip_grad_norm is not None:
            squares = sum(float(np.square(p.grad, dtype=np.float64).sum()) for p in self._parameters)
            factor = options.clip_grad_norm / (math.sqrt(squares) + 1e-6)
            if factor < 1:
                for parameter in self._parameters:
                    parameter.grad *= parameter.dtype.type(factor)
        if options.clip_grad_value is not None:
            for parameter in self._parameters:
                np.clip(parameter.grad, -options.clip_grad_value, options.clip_grad_value, out=parameter.grad)
        self._optimizer.step()
        self.global_step += 1


def _masks(module: Module) -> bool:
    return any(getattr(part, "_masks", False) for part in module.modules())
