"""The metrics of a run: named ones and functions, computed from the outputs of one prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from numpy.typing import NDArray

from nnrs import task as tasks
from nnrs.metrics import NAMED, Metric
from nnrs.nn.module import Module
from nnrs.target import Target

__all__ = ["Measures", "Metrics"]

Array = NDArray[Any]
Metrics = Iterable[str | Callable[[Any, Any], float]]

_TASKS = {
    "labels": ("multiclass", "binary", "multilabel"),
    "probabilities": ("multiclass", "binary", "multilabel"),
    "values": ("regression",),
}


class Measures:
    """Metrics by name.

    Parameters
    ----------
    metrics : iterable of str or function (y_true, y_pred) → float
        Names of `nnrs.metrics`. A function gets what `predict` returns, and the targets in the same form.

    Attributes
    ----------
    names : list of str

    Raises
    ------
    TypeError, ValueError
        If one is neither, a name is unknown or comes twice.

    Examples
    --------
    >>> from nnrs.measure import Measures
    >>> Measures(["accuracy", "log_loss"]).names
    ['accuracy', 'log_loss']
    """

    def __init__(self, metrics: Metrics) -> None:
        given = [metrics] if isinstance(metrics, str) or callable(metrics) else list(metrics)
        by_function = {metric.function: name for name, metric in NAMED.items()}
        self._metrics: dict[str, Metric | Callable[[Any, Any], float]] = {}
        for metric in given:
            name, measure = _resolve(metric, by_function)
            if name in self._metrics:
                raise ValueError(f"metrics has {name!r} twice; expected different names")
            self._metrics[name] = measure

    @property
    def names(self) -> list[str]:
        """Names of the metrics."""
        return list(self._metrics)

    def check(self, task: str | None) -> None:
        """Raise ValueError if a metric does not go with the task.

        Parameters
        ----------
        task : str or None
        """
        for name, metric in self._metrics.items():
            if task is None:
                raise ValueError(f"metrics has {name!r} and the model no task; set model.task before")
            if isinstance(metric, Metric) and task not in _TASKS[metric.takes]:
                raise ValueError(
                    f"metrics has {name!r}, which measures {metric.takes}; the model's task is {task!r}"
                )

    def measure(
        self, model: Module, task: str | None, outputs: Array, target: Target, sample_weight: Array | None
    ) -> dict[str, float]:
        """Return the value of each metric.

        Parameters
        ----------
        model : Module
        task : str or None
        outputs : (batch, outputs) array
            Of the model in evaluation mode.
        target : Target
        sample_weight : (batch,) float64 or None

        Returns
        -------
        dict of float

        Raises
        ------
        ValueError
            As `check`, or what a metric raises.
        """
        self.check(task)
        ending = model._ending()
        numbers = target.numbers
        true = target.values if numbers is None else numbers
        if task == "regression" and true.ndim == 2 and true.shape[1] == 1:
            true = true[:, 0]
        made: dict[str, Array] = {}

        def predicted(takes: str) -> Array:
            if takes not in made:
                if takes == "probabilities":
                    made[takes] = tasks.probabilities(outputs, task, ending)
                else:
                    made[takes] = tasks.decide(outputs, task, ending, 0.5, None)
            return made[takes]

        results = {}
        for name, metric in self._metrics.items():
            if isinstance(metric, Metric):
                pred = predicted(metric.takes)
                results[name] = metric.function(true, pred, sample_weight=sample_weight)
            else:
                pred = predicted("labels")
                names = target.classes if target.of_classes else None
                pair = (true, pred) if names is None else (names[true], names[pred])
                results[name] = float(metric(*pair))
        return results


def _resolve(metric: Any, by_function: dict[Any, str]) -> tuple[str, Any]:
    if isinstance(metric, str):
        if metric not in NAMED:
            raise ValueError(f"metrics has {metric!r}; expected a function or one of {', '.join(NAMED)}")
        return metric, NAMED[metric]
    if not callable(metric):
        raise TypeError(
            f"metrics holds a {type(metric).__name__}; expected names or functions (y_true, y_pred)"
        )
    if metric in by_function:
        return by_function[metric], NAMED[by_function[metric]]
    name = getattr(metric, "__name__", type(metric).__name__)
    return ("metric" if name == "<lambda>" else name), metric
