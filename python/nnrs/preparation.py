"""What `Trainer.fit` does before the first step: read and split data, find the task, fit scalers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs.arguments import check_sample_weight
from nnrs.backend import Backend, model_dtype
from nnrs.class_weight import ClassWeight, resolve_class_weight
from nnrs.criterion import Criterion, class_factors
from nnrs.data.split import count_part, split_rows
from nnrs.epoch import Batch
from nnrs.features import mapping, read_features, read_names
from nnrs.measure import Measures
from nnrs.nn.compiled import Compiled
from nnrs.nn.module import Module
from nnrs.nn.scale import Scaler
from nnrs.source import ArraySource, BatchSource, Source
from nnrs.target import Target, find_task, read_target

__all__ = ["Part", "Plan", "Preparation", "model_outputs"]

Array = NDArray[Any]
Rows = NDArray[np.int64]
Weights = NDArray[np.float64]

# Validation rows up to this size are gathered once, larger ones anew in every epoch.
_GATHERED_BYTES = 1 << 26


@dataclass(frozen=True)
class Part:
    """Rows to measure after an epoch.

    Attributes
    ----------
    x : (batch, …) array
    rows : (n,) int64 or None
        Only these rows of `x`.
    target : Target
        Of these rows.
    sample_weight : (n,) float64 or None

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs.preparation import Part
    >>> from nnrs.target import Target
    >>> len(Part(np.zeros((5, 2)), np.array([1, 3]), Target(np.zeros(2), False, None), None).rows)
    2
    """

    x: Array
    rows: Rows | None
    target: Target
    sample_weight: Weights | None


@dataclass(frozen=True)
class Plan:
    """All that the epochs need.

    Attributes
    ----------
    source : Source
    criterion : Criterion
    validation : Part or None
    training : Part or None
        Where metrics of the training rows are wanted.

    Examples
    --------
    >>> from nnrs import nn
    >>> from nnrs.criterion import Criterion
    >>> from nnrs.preparation import Plan
    >>> from nnrs.source import BatchSource
    >>> Plan(BatchSource([], list), Criterion(nn.MSELoss()), None, None).validation is None
    True
    """

    source: Source
    criterion: Criterion
    validation: Part | None
    training: Part | None


@dataclass
class Preparation:
    """Makes a `Plan`.

    Attributes
    ----------
    model : Module
    loss : object
    backend : Backend
    seed, batch_size : int
    shuffle : bool or "full"
    class_weight : array, dict, "balanced" or None
    refit_scalers : bool
    measures : Measures
    train_metrics : bool

    Examples
    --------
    >>> import nnrs
    >>> from nnrs import nn
    >>> from nnrs.backend import get_backend
    >>> from nnrs.measure import Measures
    >>> from nnrs.preparation import Preparation
    >>> x, y = nnrs.datasets.digits()
    >>> model = nn.Sequential(nn.Standardize(), nn.Linear(64, 10), seed=0)
    >>> ready = Preparation(
    ...     model, nn.CrossEntropyLoss(), get_backend("cpu"), 0, 32, True, None, False, Measures([]), False
    ... )
    >>> plan = ready.plan(x, y, None, None, 0.25)
    >>> plan.source.rows_an_epoch, len(plan.validation.x), model.task
    (1347, 450, 'multiclass')
    """

    model: Module
    loss: Any
    backend: Backend
    seed: int
    batch_size: int
    shuffle: bool | Literal["full"]
    class_weight: ClassWeight
    refit_scalers: bool
    measures: Measures
    train_metrics: bool
    _outputs: int | None = None

    def plan(
        self,
        x: Any,
        y: Any,
        sample_weight: ArrayLike | None,
        validation_data: Sequence[Any] | None,
        validation_split: float,
    ) -> Plan:
        """Read and check everything.

        Parameters
        ----------
        x, y, sample_weight, validation_data, validation_split
            As in `Trainer.fit`.

        Returns
        -------
        Plan

        Raises
        ------
        TypeError, ValueError
            If something does not fit.
        """
        if validation_data is not None and validation_split:
            raise ValueError("validation_data and validation_split are both given; expected one of them")
        if y is None:
            return self._plan_batches(x, sample_weight, validation_data, validation_split)
        return self._plan_arrays(x, y, sample_weight, validation_data, validation_split)

    def _plan_arrays(
        self,
        x: Any,
        y: Any,
        sample_weight: ArrayLike | None,
        validation_data: Sequence[Any] | None,
        validation_split: float,
    ) -> Plan:
        model = self.model
        names = model.feature_names_ or read_names(x)
        features = read_features(x, names)
        count = len(features)
        if count == 0:
            raise ValueError("x has no rows; expected at least one")
        if len(y) != count:
            raise ValueError(f"y has {len(y)} rows; expected {count}, the rows of x")
        weights = None if sample_weight is None else check_sample_weight(sample_weight, count)
        rows, held_out = self._split(y, count, validation_split)

        outputs = model_outputs(model)
        if outputs is None:
            self._fit_scalers(features, rows)
            outputs = self._count_outputs(features)
        task = model.task or find_task(self.loss, outputs)
        self.measures.check(task)
        target = read_target(y, task, outputs, model_dtype(model), model.classes_, learn=True)
        factors = self._class_factors(target, rows, task, outputs)
        given = None
        if validation_data is not None:
            given = self._read_validation(validation_data, names, task, outputs, target, features)
        self._fit_scalers(features, rows)
        model.task, model.classes_, model.feature_names_ = task, target.classes, names

        ready = self._ready(features)
        in_file = mapping(ready) is not None
        dtype = _input_dtype(model) or str(ready.dtype)
        row_weights = weights if factors is None else factors if weights is None else factors * weights
        source = ArraySource(
            ready,
            target.values,
            row_weights,
            _positive(rows, row_weights),
            self.batch_size,
            bool(self.shuffle),
            self.seed,
            in_file and ready.dtype != dtype,
            dtype if in_file and self.shuffle is True else None,
        )
        settled = target.values if rows is None else target.values[rows]
        criterion = Criterion(self.loss, settled, outputs, target.classes)
        if source.nearby is not None and criterion.core is not None:
            # The session sees those of a part of an epoch at a time.
            criterion.core.check(target.values, outputs)
        validation = None if given is None else replace(given, x=self._ready(given.x))
        if held_out is not None:
            validation = _part(ready, held_out, target, weights)
        return Plan(
            source,
            criterion,
            validation,
            _part(ready, rows, target, weights) if self.train_metrics and self.measures.names else None,
        )

    def _plan_batches(
        self,
        x: Any,
        sample_weight: ArrayLike | None,
        validation_data: Sequence[Any] | None,
        validation_split: float,
    ) -> Plan:
        if hasattr(x, "dtype") or hasattr(x, "dtypes") or not isinstance(x, Iterable):
            raise TypeError(
                f"y is missing; expected one with x a {type(x).__name__}, or an iterable of (xb, yb)"
            )
        for name, used in (
            ("validation_split", validation_split),
            ("sample_weight", sample_weight is not None),
            ("train_metrics", self.train_metrics),
            ("refit_scalers", self.refit_scalers),
        ):
            if used:
                raise ValueError(f"{name} needs arrays x and y; x is an iterable of batches")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} needs arrays x and y; x is an iterable of batches, "
                "which are not counted beforehand"
            )
        for scaler in _scalers(self.model):
            if not scaler.fitted:
                raise ValueError(
                    f"{type(scaler).__name__} has not learned its statistics, and cannot from an iterable: "
                    "call model.fit_scalers(x) with the training inputs before"
                )
        model = self.model
        validation = None
        outputs = model_outputs(model)
        if validation_data is not None:
            outputs = self._count_outputs(read_features(validation_data[0], model.feature_names_))
            task = model.task or find_task(self.loss, outputs)
            self.measures.check(task)
            found = self._read_validation(validation_data, model.feature_names_, task, outputs, None, None)
            validation = replace(found, x=self._ready(found.x))
        if outputs is not None:
            model.task = model.task or find_task(self.loss, outputs)
        criterion = Criterion(self.loss, None, outputs or 0, model.classes_)
        return Plan(BatchSource(x, self._read_batch), criterion, validation, None)

    def _read_batch(self, batch: Any) -> Batch:
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            raise TypeError(
                f"x gave a {type(batch).__name__} as a batch; expected (xb, yb) or (xb, yb, weights)"
            )
        model = self.model
        features = read_features(batch[0], model.feature_names_)
        outputs = self._count_outputs(features)
        model.task = model.task or find_task(self.loss, outputs)
        target = read_target(batch[1], model.task, outputs, model_dtype(model), model.classes_)
        if len(target.values) != len(features):
            raise ValueError(f"yb has {len(target.values)} rows; expected {len(features)}, the rows of xb")
        weights = check_sample_weight(batch[2], len(features)) if len(batch) == 3 else None
        factors = self._class_factors(target, None, model.task, outputs)
        if factors is not None:
            weights = factors if weights is None else factors * weights
        return self._ready(features), target.values, weights

    def _split(self, y: Any, count: int, share: float) -> tuple[Rows | None, Rows | None]:
        if share == 0:
            return None, None
        size = count_part("validation_split", share, count)
        task = self.model.task or find_task(self.loss, model_outputs(self.model) or 1)
        strata = None
        if task in ("multiclass", "binary"):
            strata = np.asarray(y)
            strata = (
                strata.argmax(axis=1) if strata.ndim == 2 and strata.shape[1] > 1 else strata.reshape(count)
            )
            if strata.dtype.kind == "O":
                strata = strata.astype(str)
        rows, held_out = split_rows(count, size, seed=self.seed, stratify=strata)
        return np.sort(rows), np.sort(held_out)

    def _class_factors(
        self, target: Target, rows: Rows | None, task: str | None, outputs: int
    ) -> Weights | None:
        if self.class_weight is None:
            return None
        numbers = target.numbers
        if numbers is None:
            raise ValueError(f"class_weight weighs classes; the task {task!r} has none")
        classes = None if target.classes is None else target.classes.tolist()
        counted = numbers if rows is None else numbers[rows]
        weight = resolve_class_weight(self.class_weight, counted, 2 if task == "binary" else outputs, classes)
        assert weight is not None
        if task == "binary" and outputs == 1:
            positive = target.values.astype(np.float64).reshape(-1)
            mixed: Weights = weight[0] * (1 - positive) + weight[1] * positive
            return mixed
        return class_factors(weight, target.values)

    def _read_validation(
        self,
        data: Sequence[Any],
        names: list[str] | None,
        task: str | None,
        outputs: int,
        training: Target | None,
        features: Array | None,
    ) -> Part:
        if not isinstance(data, tuple | list) or len(data) not in (2, 3):
            raise TypeError("validation_data must be (x, y) or (x, y, weights)")
        x = read_features(data[0], names)
        if features is not None and x.shape[1:] != features.shape[1:]:
            wanted = ", ".join(map(str, features.shape[1:]))
            raise ValueError(f"x of validation_data has shape {x.shape}; expected (n, {wanted}), as x")
        classes = self.model.classes_ if training is None else training.classes
        target = read_target(data[1], task, outputs, model_dtype(self.model), classes)
        if training is not None and not training.of_classes:
            known, given = (math.prod(found.values.shape[1:]) for found in (training, target))
            if given != known:
                raise ValueError(f"y of validation_data has {given} values a row; expected {known}, as y")
        if len(target.values) != len(x) or not len(x):
            raise ValueError(
                f"validation_data has {len(x)} rows of x and {len(target.values)} of y; expected as many"
            )
        weights = (
            check_sample_weight(data[2], len(x), "weights of validation_data") if len(data) == 3 else None
        )
        return Part(x, None, target, weights)

    def _fit_scalers(self, features: Array, rows: Rows | None) -> None:
        scalers = _scalers(self.model)
        if self.refit_scalers or any(not scaler.fitted for scaler in scalers):
            for scaler in scalers:
                scaler.learn(features, rows)
            self.refit_scalers = False

    def _count_outputs(self, features: Array) -> int:
        """Return the number of the model's outputs, found by a call where nothing else tells."""
        if self._outputs is None:
            found = model_outputs(self.model)
            self._outputs = found or self.backend.predict(self.model, features[:1]).shape[1]
        return self._outputs

    def _ready(self, features: Array) -> Array:
        """Return inputs as the session takes them; converted here, once, but where they lie in a file."""
        model = self.model
        if not isinstance(model, Compiled) or (dtype := _input_dtype(model)) is None:
            return features
        rows = model._features(features)
        return rows if rows.dtype == dtype or mapping(rows) is not None else rows.astype(dtype)


def _input_dtype(model: Module) -> str | None:
    """Return the dtype of inputs that the core takes; None where a user's modules take any."""
    return model_dtype(model) if isinstance(model, Compiled) and model.network is not None else None


def model_outputs(model: Module) -> int | None:
    """Return the number of a model's outputs, None where only a call would tell.

    Parameters
    ----------
    model : Module

    Returns
    -------
    int or None

    Examples
    --------
    >>> from nnrs import nn
    >>> from nnrs.preparation import model_outputs
    >>> model_outputs(nn.Linear(4, 3))
    3
    """
    return model.out_features if isinstance(model, Compiled) else None


def _scalers(model: Module) -> list[Scaler]:
    return [module for module in model.modules() if isinstance(module, Scaler)]


def _positive(rows: Rows | None, weights: Weights | None) -> Rows | None:
    """Leave out rows of weight 0, so that no batch is made of them alone."""
    if weights is None or (weights if rows is None else weights[rows]).all():
        return rows
    kept = np.flatnonzero(weights) if rows is None else rows[weights[rows] > 0]
    if not len(kept):
        raise ValueError("sample_weight and class_weight leave no training row with a weight above 0")
    return kept.astype(np.int64)


def _part(x: Array, rows: Rows | None, target: Target, weights: Weights | None) -> Part:
    if rows is None:
        return Part(x, None, target, weights)
    chosen = replace(target, values=target.values[rows])
    own_weights = None if weights is None else weights[rows]
    if len(rows) * math.prod(x.shape[1:]) * x.itemsize <= _GATHERED_BYTES:
        return Part(np.asarray(x[rows]), None, chosen, own_weights)
    return Part(x, rows, chosen, own_weights)
