"""Training: epochs and steps, validation, callbacks, and the record of it all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs.arguments import check_int, check_number, check_sample_weight
from nnrs.backend import Options, Session, get_backend, model_dtype
from nnrs.callbacks import Callback, wants_steps
from nnrs.class_weight import ClassWeight
from nnrs.criterion import Criterion
from nnrs.features import read_features
from nnrs.history import History
from nnrs.measure import Measures, Metrics
from nnrs.nn.compiled import Compiled
from nnrs.nn.loss import Loss
from nnrs.nn.module import Module
from nnrs.preparation import Part, Plan, Preparation, model_outputs
from nnrs.progress import Bar
from nnrs.random import resolve_seed
from nnrs.target import find_task, read_target

__all__ = ["Trainer"]

Array = NDArray[Any]

# One run at a time trains a model, whichever trainer it belongs to.
_LOCKS: WeakKeyDictionary[Module, Lock] = WeakKeyDictionary()
if hasattr(os, "register_at_fork"):
    # Whoever held a lock goes on in the parent alone.
    os.register_at_fork(after_in_child=_LOCKS.clear)


class Trainer:
    """Bring a model, a loss and an optimiser together and train.

    Parameters
    ----------
    model : nn.Module
    loss : one of nnrs.nn's losses, or any object with `value_and_grad(pred, target, sample_weight=None)`
    optimizer : one of nnrs.optim's optimisers, or any object with `step()`
    clip_grad_norm : float, optional
        Scale the gradient so that its norm over all parameters is at most this.
    clip_grad_value : float, optional
        Limit each element of the gradient to ± this; after `clip_grad_norm`.
    keep_grad : bool
        Whether `.grad` holds the gradient after a step. Without it the gradient need never be written down.
    seed : int, optional
        Of shuffles, validation splits and dropout; None takes one and records it in `history.seed`.
    device : {"cpu"}

    Attributes
    ----------
    epoch : int
        Epochs finished, over all calls of `fit`.
    global_step : int
        Steps done, over all calls of `fit` and `step`.
    history : History
    stop_training : bool
        Set by a callback to end `fit` after the current epoch.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these, the device is unknown, or the model ends in what the loss applies.

    Examples
    --------
    >>> import nnrs
    >>> from nnrs import nn, optim
    >>> x, y = nnrs.datasets.xor()
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2), seed=1)
    >>> trainer = nnrs.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.1), seed=0)
    >>> history = trainer.fit(x, y, epochs=100, batch_size=4, metrics=["accuracy"])
    >>> trainer.evaluate(x, y)["accuracy"]
    1.0
    """

    def __init__(
        self,
        model: Module,
        loss: Any,
        optimizer: Any,
        *,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        keep_grad: bool = False,
        seed: int | None = None,
        device: str = "cpu",
    ) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"model must be an nn.Module, got {type(model).__name__}")
        if isinstance(loss, type) or not callable(getattr(loss, "value_and_grad", None)):
            raise TypeError(f"loss must have value_and_grad(pred, target), got {_named(loss)}")
        if isinstance(optimizer, type) or not callable(getattr(optimizer, "step", None)):
            raise TypeError(f"optimizer must have step(), got {_named(optimizer)}")
        for name, limit in (("clip_grad_norm", clip_grad_norm), ("clip_grad_value", clip_grad_value)):
            if limit is not None:
                check_number(name, limit, above=0, none=True)
        self._backend = get_backend(device)
        if isinstance(loss, Loss):
            loss.check_model(model)
        seed = resolve_seed(seed)
        self._options = Options(seed, clip_grad_norm, clip_grad_value, bool(keep_grad))
        self._model, self._loss, self._optimizer, self._device = model, loss, optimizer, device
        self._criterion: Criterion | None = None
        self._session: Session | None = None
        self._version = -1
        self._measures = Measures(())
        self.epoch = 0
        self.stop_training = False
        self.history = History(seed)

    @property
    def model(self) -> Module:
        """The model."""
        return self._model

    @property
    def loss(self) -> Any:
        """The loss."""
        return self._loss

    @property
    def optimizer(self) -> Any:
        """The optimiser."""
        return self._optimizer

    @property
    def device(self) -> str:
        """Where training runs."""
        return self._device

    @property
    def seed(self) -> int:
        """What shuffles, splits and masks are drawn from."""
        return self._options.seed

    @property
    def global_step(self) -> int:
        """Steps done."""
        return 0 if self._session is None else self._session.global_step

    def step(self, xb: Array, yb: Array, sample_weight: Array | None = None) -> float:
        """Do one whole training step, one call into the core: gradients, clipping, update.

        Parameters
        ----------
        xb : (batch, …) array
        yb : (batch, …) array
            As the loss takes it; where `fit` has learned labels, labels.
        sample_weight : (batch,) float, optional

        Returns
        -------
        float
            The mean loss of the data before the update.

        Raises
        ------
        TypeError, ValueError
            If shapes or dtypes do not fit, a label is out of range, or a scaler has not learned yet.
        RuntimeError
            "busy" if another thread is training the model; if the loss is not finite, and then nothing of the
            step is written.

        Examples
        --------
        >>> import nnrs
        >>> from nnrs import nn, optim
        >>> x, y = nnrs.datasets.xor()
        >>> model = nn.Sequential(nn.Linear(2, 2), seed=0)
        >>> trainer = nnrs.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
        >>> first = trainer.step(x, y)
        >>> trainer.step(x, y) < first
        True
        """
        if self._version != self._model._version:
            self._compile()
        return self._step(xb, yb, sample_weight)

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int,
        batch_size: int = 32,
        validation_data: Sequence[Any] | None = None,
        validation_split: float = 0.0,
        sample_weight: ArrayLike | None = None,
        class_weight: ClassWeight = None,
        shuffle: bool | Literal["full"] = True,
        metrics: Metrics = (),
        train_metrics: bool = False,
        callbacks: Iterable[Callback] = (),
        progress: bool | None = None,
        refit_scalers: bool = False,
    ) -> History:
        """Train for some epochs; a second call goes on where the first one ended.

        Parameters
        ----------
        x : (n, …) array, memory map, list of rows, pandas frame, or iterable of (xb, yb) or (xb, yb, weights)
            A frame's column names are kept as `model.feature_names_`. An iterable is gone through once an
            epoch.
        y : (n,) or (n, outputs)
            Class numbers, one-hot rows or probabilities, or values. Strings, and labels other than 0 … C − 1,
            are kept as `model.classes_`. Left out with an iterable.
        epochs : int
        batch_size : int
            Rows of a step; the last one of an epoch may have fewer.
        validation_data : (x, y) or (x, y, weights), optional
        validation_split : float
            Share of the rows, or number of rows, taken out for validation: at random by the trainer's seed,
            class by class in their shares. Scalers do not see them.
        sample_weight : (n,) float, optional
            Each row counts so much in the loss; rows of weight 0 take no part.
        class_weight : (classes,) array, dict or "balanced", optional
            Multiplies the weight of each row by that of its class; validation does not look at it.
        shuffle : bool or "full"
            Draw a new order for every epoch. A memory-mapped file is shuffled in blocks of 4,096 rows, then
            row by row within a buffer of blocks, so that it is read nearly in order; "full" gives it the
            order that rows in memory have.
        metrics : iterable of str or function (y_true, y_pred) → float
            Names of `nnrs.metrics`, measured on validation data as `val_…`.
        train_metrics : bool
            Measure them on the training rows as well, after each epoch.
        callbacks : iterable of Callback
        progress : bool, optional
            Draw a bar; without it only on a terminal.
        refit_scalers : bool
            Let scalers learn anew; without it they learn in the first `fit` only.

        Returns
        -------
        History
            Of all epochs so far, the same object as `trainer.history`.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit; nothing has been trained then.
        RuntimeError
            "busy" if the model is being trained already; if a loss is not finite. The model keeps its last
            whole step, and so it does when Ctrl-C or a callback's exception ends the run.

        Examples
        --------
        >>> import nnrs
        >>> from nnrs import nn, optim
        >>> x, y = nnrs.datasets.sine(100)
        >>> model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1), seed=0)
        >>> trainer = nnrs.Trainer(model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.01), seed=0)
        >>> history = trainer.fit(x, y, epochs=20, validation_split=0.2, metrics=["r2"])
        >>> list(history.epochs[0])
        ['epoch', 'loss', 'val_loss', 'val_r2', 'seconds']
        """
        epochs = check_int("epochs", epochs, 1)
        hooks = list(callbacks)
        for hook in hooks:
            if not isinstance(hook, Callback):
                raise TypeError(f"callbacks holds a {type(hook).__name__}; expected nnrs.callbacks.Callback")
        measures = Measures(metrics)
        with self._exclusive():
            plan = Preparation(
                self._model,
                self._loss,
                self._backend,
                self.seed,
                batch_size=check_int("batch_size", batch_size, 1),
                shuffle=_check_shuffle(shuffle),
                class_weight=class_weight,
                refit_scalers=bool(refit_scalers),
                measures=measures,
                train_metrics=bool(train_metrics),
            ).plan(x, y, sample_weight, validation_data, validation_split)
            self._criterion = plan.criterion
            self._measures = measures
            self._compile()
            bar = Bar(epochs, plan.source.rows_an_epoch) if Bar.wanted(progress) else None
            try:
                self._run(plan, epochs, hooks, bar)
            finally:
                if bar is not None:
                    bar.close()
        return self.history

    def evaluate(
        self, x: Any, y: Any, sample_weight: ArrayLike | None = None, metrics: Metrics | None = None
    ) -> dict[str, float]:
        """Return the loss, and metrics, of the model in evaluation mode.

        Parameters
        ----------
        x, y
            As in `fit`, arrays only.
        sample_weight : (n,) float, optional
        metrics : iterable of str or function, optional
            Those of the last `fit` without it.

        Returns
        -------
        dict
            `loss`, and each metric by its name.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit.

        Examples
        --------
        >>> import nnrs
        >>> from nnrs import nn, optim
        >>> x, y = nnrs.datasets.xor()
        >>> model = nn.Sequential(nn.Linear(2, 2), seed=0)
        >>> trainer = nnrs.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
        >>> sorted(trainer.evaluate(x, y, metrics=["accuracy"]))
        ['accuracy', 'loss']
        """
        model = self._model
        measures = self._measures if metrics is None else Measures(metrics)
        features = read_features(x, model.feature_names_)
        outputs = self._backend.predict(model, features)
        task = model.task or find_task(self._loss, outputs.shape[1])
        target = read_target(y, task, outputs.shape[1], str(outputs.dtype), model.classes_)
        if len(target.values) != len(features):
            raise ValueError(f"y has {len(target.values)} rows; expected {len(features)}, the rows of x")
        weights = None if sample_weight is None else check_sample_weight(sample_weight, len(features))
        criterion = self._criterion or Criterion(self._loss, target.values, outputs.shape[1], model.classes_)
        loss = criterion.value(outputs, target.values, weights)
        return {"loss": loss, **measures.measure(model, task, outputs, target, weights)}

    def _compile(self) -> None:
        model = self._model
        done = self.global_step
        if self._criterion is None:
            outputs = model_outputs(model) or 0
            model.task = model.task or (find_task(self._loss, outputs) if outputs else None)
            self._criterion = Criterion(self._loss, None, outputs, model.classes_)
        session = self._backend.compile(model, self._criterion, self._optimizer, self._options)
        session.global_step = done
        self._session = session
        self._step = session.step if _takes_rows(model) and model.classes_ is None else self._read_and_step
        self._version = model._version

    def _read_and_step(self, xb: Array, yb: Array, sample_weight: Array | None = None) -> float:
        """Do a step for inputs that must be flattened, or targets that are labels."""
        model, session = self._model, self._session
        assert session is not None
        rows = model._features(xb) if isinstance(model, Compiled) else np.asarray(xb)
        labels = np.asarray(yb)
        if model.classes_ is not None:
            outputs = model_outputs(model) or len(model.classes_)
            labels = read_target(yb, model.task, outputs, model_dtype(model), model.classes_).values
        return session.step(rows, labels, sample_weight)

    def _run(self, plan: Plan, epochs: int, hooks: list[Callback], bar: Bar | None) -> None:
        self.stop_training = False
        logs: dict[str, Any] = {}
        stepping = [hook for hook in hooks if wants_steps(hook)]

        def on_step(loss: float) -> None:
            for hook in stepping:
                hook.on_step_end(self, {"epoch": self.epoch + 1, "step": self.global_step, "loss": loss})

        progress = None if bar is None else bar.update
        with self._training():
            for hook in hooks:
                hook.on_train_begin(self, logs)
            for _ in range(epochs):
                logs = {"epoch": self.epoch + 1}
                for hook in hooks:
                    hook.on_epoch_begin(self, logs)
                begun = time.perf_counter()
                total, weight = plan.source.run(
                    self._current, self.epoch, plan.criterion.weigh, on_step if stepping else None, progress
                )
                seconds = time.perf_counter() - begun
                self.epoch += 1
                logs["loss"] = float(total / weight)
                if plan.training is not None:
                    logs.update(self._measure(plan.training, with_loss=False))
                if plan.validation is not None:
                    found = self._measure(plan.validation, with_loss=True)
                    logs.update({f"val_{name}": value for name, value in found.items()})
                logs["seconds"] = seconds
                self.history.epochs.append(logs)
                if bar is not None:
                    bar.end_epoch(logs)
                for hook in hooks:
                    hook.on_epoch_end(self, logs)
                if self.stop_training:
                    break
            for hook in hooks:
                hook.on_train_end(self, logs)

    def _current(self) -> Session:
        """Return the session, compiled anew if the model has changed: a callback may freeze a layer."""
        if self._version != self._model._version:
            self._compile()
        assert self._session is not None
        return self._session

    def _measure(self, part: Part, *, with_loss: bool) -> dict[str, float]:
        model, criterion = self._model, self._criterion
        assert criterion is not None
        outputs = self._backend.predict(model, part.x, part.rows)
        target, weights = part.target, part.sample_weight
        found = {"loss": criterion.value(outputs, target.values, weights)} if with_loss else {}
        return {**found, **self._measures.measure(model, model.task, outputs, target, weights)}

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        lock = _LOCKS.setdefault(self._model, Lock())
        if not lock.acquire(blocking=False):
            raise RuntimeError("busy: this model is being trained already")
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _training(self) -> Iterator[None]:
        modes = [(module, module.training) for module in self._model.modules()]
        self._model.train()
        try:
            yield
        finally:
            self._model._set_modes(modes)


def _check_shuffle(shuffle: object) -> bool | Literal["full"]:
    if shuffle == "full":
        return "full"
    if isinstance(shuffle, str):
        raise ValueError(f'shuffle is {shuffle!r}; expected True, False or "full"')
    return bool(shuffle)


def _takes_rows(model: Module) -> bool:
    """Whether a batch goes into the core as it is: all of the model is there, and nothing is flattened."""
    if not isinstance(model, Compiled) or model.network is None:
        return False
    return not (model._program or model._compile()).flattens


def _named(given: object) -> str:
    return (
        f"the class {given.__name__}; give an object of it"
        if isinstance(given, type)
        else type(given).__name__
    )
