"""What a `Trainer` calls at fixed points of a run.

`logs` is the dict of the epoch so far: `epoch`, `loss`, `val_loss`, metrics. A callback ends the run after
the current epoch with `trainer.stop_training = True`. What a callback raises ends `fit`; the model keeps its
last whole step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnrs.arguments import check_choice, check_int, check_number
from nnrs.metrics import NAMED

if TYPE_CHECKING:
    from nnrs.trainer import Trainer

__all__ = ["Callback", "EarlyStopping", "LambdaCallback"]

Logs = dict[str, Any]
Hook = Callable[["Trainer", Logs], None]
_HOOKS = ("on_train_begin", "on_epoch_begin", "on_step_end", "on_epoch_end", "on_train_end")


class Callback:
    """Base of all callbacks: each hook does nothing until it is overridden.

    Examples
    --------
    >>> from nnrs import callbacks
    >>> class Print(callbacks.Callback):
    ...     def on_epoch_end(self, trainer, logs):
    ...         print(logs["epoch"], logs["loss"])
    """

    def on_train_begin(self, trainer: Trainer, logs: Logs) -> None:
        """Run at the start of `fit`; `logs` is empty."""

    def on_epoch_begin(self, trainer: Trainer, logs: Logs) -> None:
        """Run before the first step of an epoch; `logs` holds `epoch`."""

    def on_step_end(self, trainer: Trainer, logs: Logs) -> None:
        """Run after each step; `logs` holds `epoch`, `step` (of the whole run, from 1) and its `loss`.

        Overriding it makes an epoch a loop of steps, where it is one call into the core otherwise.
        """

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        """Run after an epoch and its validation; `logs` is what the history keeps."""

    def on_train_end(self, trainer: Trainer, logs: Logs) -> None:
        """Run at the end of `fit`, not when an exception ends it; `logs` is that of the last epoch."""


def wants_steps(callback: Callback) -> bool:
    """Return whether `callback` has an `on_step_end` of its own.

    Parameters
    ----------
    callback : Callback

    Returns
    -------
    bool

    Examples
    --------
    >>> from nnrs.callbacks import Callback, LambdaCallback, wants_steps
    >>> wants_steps(Callback()), wants_steps(LambdaCallback(on_step_end=print))
    (False, True)
    """
    return getattr(callback.on_step_end, "__func__", None) is not Callback.on_step_end


class LambdaCallback(Callback):
    """A callback made of functions.

    Parameters
    ----------
    **hooks : function (trainer, logs)
        By the names of `Callback`'s methods.

    Raises
    ------
    TypeError
        If a name is no hook, or its value cannot be called.

    Examples
    --------
    >>> import nnrs
    >>> seen = []
    >>> hook = nnrs.callbacks.LambdaCallback(on_epoch_end=lambda trainer, logs: seen.append(logs["loss"]))
    """

    def __init__(self, **hooks: Hook) -> None:
        for name, hook in hooks.items():
            if name not in _HOOKS:
                raise TypeError(f"{name} is no hook; expected one of {', '.join(_HOOKS)}")
            if not callable(hook):
                raise TypeError(f"{name} must be a function (trainer, logs), got {type(hook).__name__}")
            setattr(self, name, hook)


class EarlyStopping(Callback):
    """End the run when a measured value has stopped improving.

    Parameters
    ----------
    monitor : str
        Name of the value in `logs`.
    patience : int
        Epochs without improvement after which the run ends.
    min_delta : float
        Least change that counts as an improvement.
    mode : {"auto", "min", "max"}
        Whether less or more is better; "auto" knows losses and the named metrics.
    restore_best : bool
        Give the model the weights of its best epoch when the run ends, also where it ran to its last epoch.

    Attributes
    ----------
    best : float or None
        Best value of the last run.
    best_epoch : int or None
        Epoch (from 1) that gave it.
    stopped_epoch : int or None
        Epoch after which this callback ended the run; None where it did not.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or "auto" does not know what is better.

    Examples
    --------
    >>> import nnrs
    >>> stop = nnrs.callbacks.EarlyStopping("val_accuracy", patience=3)
    >>> stop.best is None
    True
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        self.monitor = monitor
        self.patience = check_int("patience", patience, 0)
        self.min_delta = check_number("min_delta", min_delta)
        check_choice("mode", mode, ("auto", "min", "max"))
        self.mode = _better(monitor) if mode == "auto" else mode
        self.restore_best = restore_best
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._waited = 0
        self._weights: dict[str, NDArray[Any]] | None = None

    def on_train_begin(self, trainer: Trainer, logs: Logs) -> None:  # noqa: ARG002
        """Forget the last run."""
        self._reset()

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        """Compare; keep the weights of a better epoch; end the run when patience is spent.

        Raises
        ------
        ValueError
            If `monitor` is not among `logs`.
        """
        value = logs.get(self.monitor)
        if not isinstance(value, int | float):
            hint = "; give fit validation_data or validation_split" if self.monitor.startswith("val_") else ""
            raise ValueError(f"monitor={self.monitor!r} is not among {', '.join(logs)}{hint}")
        gain = 0.0 if self.best is None else (self.best - value if self.mode == "min" else value - self.best)
        # A NaN is never better, not even as the first value.
        if (self.best is None and value == value) or gain > self.min_delta:
            self.best, self.best_epoch, self._waited = float(value), logs["epoch"], 0
            if self.restore_best:
                state = trainer.model.state_dict()
                self._weights = {name: np.array(array) for name, array in state.items()}
            return
        self._waited += 1
        if self._waited >= self.patience:
            self.stopped_epoch = logs["epoch"]
            trainer.stop_training = True

    def on_train_end(self, trainer: Trainer, logs: Logs) -> None:  # noqa: ARG002
        """Put the best weights back."""
        if self._weights is not None:
            trainer.model.load_state_dict(self._weights)
            self._weights = None


def _better(monitor: str) -> str:
    name = monitor.removeprefix("val_")
    if name in NAMED:
        return "max" if NAMED[name].higher_is_better else "min"
    if name.endswith(("loss", "error")):
        return "min"
    raise ValueError(
        f"mode='auto' does not know whether less or more of {monitor!r} is better; expected 'min' or 'max'"
    )
