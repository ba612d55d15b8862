"""A model frozen for serving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs import _core
from nnrs import task as tasks
from nnrs.arguments import check_int
from nnrs.nn.compiled import Compiled
from nnrs.nn.layer import Layer
from nnrs.nn.parameter import Flat
from nnrs.nn.program import Run

if TYPE_CHECKING:
    from nnrs.nn.module import Module

__all__ = ["Predictor", "freeze"]

Array = NDArray[Any]
# Task, what is applied last, labels, names of the features.
About = tuple[str | None, str | None, Array | None, list[str] | None]
# What the core makes a predictor of: dtype, width of the inputs, stages, values of the parameters, precision
# and number of threads. The core's own packed form stays inside it.
Recipe = tuple[str, int, list[tuple[Any, ...]], Array, str, int | None]


class Predictor(_core.Predictor):
    """A model frozen: immutable, with weights of its own, packed for prediction. Made by `model.freeze()`.

    Calling it with `x`, (batch, in_features) or (in_features,) real numbers, and optionally `out`, an array
    of the shape and dtype of the result that overlaps no input, gives the outputs. Any number of threads may
    do so at once. It can be pickled.

    Attributes
    ----------
    in_features, out_features : int
    dtype : {"float32", "float64"}
    task : {"multiclass", "binary", "multilabel", "regression"} or None
    classes_ : array or None
        Labels of the classes, where they are not 0, 1, ….
    feature_names_ : list of str or None

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), seed=0, task="multiclass").eval()
    >>> predictor = model.freeze()
    >>> x = np.ones((2, 4), "float32")
    >>> bool((predictor(x) == model(x)).all())
    True
    >>> predictor.predict_proba(x).shape
    (2, 3)
    """

    _about: About = (None, None, None, None)
    _recipe: Recipe

    @property
    def task(self) -> str | None:
        """What the outputs mean."""
        return self._about[0]

    @property
    def classes_(self) -> Array | None:
        """Labels of the classes."""
        return self._about[2]

    @property
    def feature_names_(self) -> list[str] | None:
        """Names of the columns of a data frame."""
        names = self._about[3]
        return None if names is None else list(names)

    def predict(self, x: Any, batch_size: int | None = None, threshold: float = 0.5) -> Any:
        """Return labels, or values for regression.

        Parameters
        ----------
        x : (batch, in_features) or (in_features,) real numbers
            A data frame too; its columns are found by name where the model knows names.
        batch_size : int, optional
            Rows at a time, to limit memory; the result does not depend on it.
        threshold : float in 0..1
            The probability from which on "binary" and "multilabel" say 1.

        Returns
        -------
        array
            As `Module.predict`.

        Raises
        ------
        ValueError
            If the model had no task when it was frozen.
        """
        task, ending, classes, names = self._about
        return tasks.read(
            self, x, names, batch_size, lambda out: tasks.decide(out, task, ending, threshold, classes)
        )

    def predict_proba(self, x: Any, batch_size: int | None = None) -> Array:
        """Return probabilities.

        Parameters
        ----------
        x : (batch, in_features) or (in_features,) real numbers
        batch_size : int, optional
            Rows at a time, to limit memory; the result does not depend on it.

        Returns
        -------
        array
            As `Module.predict_proba`.

        Raises
        ------
        ValueError
            If the model had no task when it was frozen, or its task is "regression".
        """
        task, ending, _, names = self._about
        found: Array = tasks.read(
            self, x, names, batch_size, lambda out: tasks.probabilities(out, task, ending)
        )
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise AttributeError(f"a Predictor is immutable; set {name} of the model, and freeze it again")
        super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._recipe, self._about)

    def __copy__(self) -> Predictor:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Predictor:
        return self

    def __repr__(self) -> str:
        return (
            f"Predictor(in_features={self.in_features}, out_features={self.out_features}, task={self.task!r})"
        )


class _FlatteningPredictor(Predictor):
    """Of a model that takes inputs of more than 2 axes."""

    def __call__(self, x: ArrayLike, out: Array | None = None) -> Array:
        rows = np.asarray(x)
        if rows.ndim > 2:
            rows = rows.reshape(len(rows), -1 if rows.size else self.in_features)
        return super().__call__(rows, out)


def freeze(
    model: Module, precision: str | None = None, *, fold: bool = False, num_threads: int | None = None
) -> Predictor:
    """Return a predictor of a model; `Module.freeze` is this function.

    Parameters
    ----------
    model : Module
    precision : {"highest", "high", "medium"}, optional
        None takes `nnrs.get_float32_matmul_precision()`.
    fold : bool
        Work the scaler into the first layer's weights: fewer operations, other rounding.
    num_threads : int, optional
        At most so many threads a call.

    Returns
    -------
    Predictor

    Raises
    ------
    TypeError
        If a module of the user's is in the model.
    ValueError
        If no layer says how many features go in, a scaler has not learned, or an argument is none of those
        above.
    """
    if num_threads is not None:
        check_int("num_threads", num_threads, 1)
    run, network = _compiled(model)
    flat = model._join()
    stages, values = run.stages(flat.dtype), flat.data.copy()
    if fold:
        stages, values = _folded(run, stages, values)
    if precision is None:
        precision = _core.get_float32_matmul_precision()
    kind = _FlatteningPredictor if run.flattens else Predictor
    classes = None if model.classes_ is None else model.classes_.copy()
    if classes is not None:
        classes.setflags(write=False)
    recipe = (flat.dtype, network.in_features, stages, values, precision, num_threads)
    return _restore(kind, recipe, (model.task, model._ending(), classes, model.feature_names_))


def _compiled(model: Module) -> tuple[Run, _core.Network]:
    """Return a model that the core knows whole as one run, which is one network."""
    if not isinstance(model, Compiled) or not model._in_core():
        raise _cannot_freeze("the model", model)
    for path, leaf in model._leaves():
        if not isinstance(leaf, Layer) or not leaf._in_core():
            raise _cannot_freeze(f"module {path!r}", leaf)
    program = model._program or model._compile()
    if program.run is None or program.network is None:
        raise ValueError(
            "the model has no Linear layer, so how many features go in is not known: nothing to freeze"
        )
    return program.run, program.network


def _folded(run: Run, stages: list[tuple[Any, ...]], values: Array) -> tuple[list[tuple[Any, ...]], Array]:
    """Work a scaler at the beginning into the layer after it."""
    if len(stages) < 2 or stages[0][0] != "scale" or stages[1][0] != "linear":
        return stages, values
    scaler: Any = next(layer for _, layer in run.layers if layer._scales)
    _, inputs, outputs, at, bias_at, *trained = stages[1]
    # y = W·((x − mean) / scale) + b = (W / scale)·x + (b − (W / scale)·mean), worked out in float64.
    weight = values[at : at + inputs * outputs].reshape(outputs, inputs) / scaler.scale
    bias = values[bias_at : bias_at + outputs].astype(np.float64) if bias_at >= 0 else np.zeros(outputs)
    end = len(values)
    values = np.concatenate([values, (bias - _core.linear(scaler.mean, weight)).astype(values.dtype)])
    values[at : at + inputs * outputs] = weight.reshape(-1)
    return [("linear", inputs, outputs, at, end, *trained), *stages[2:]], values


def _restore(kind: type[Predictor], recipe: Recipe, about: About) -> Predictor:
    dtype, inputs, stages, values, precision, num_threads = recipe
    flat = Flat(dtype, len(values))
    flat.data[:] = values
    network = _core.Network(dtype, inputs, stages, flat.parameters, flat.gradients)
    predictor = kind(network, precision, num_threads)
    predictor._recipe, predictor._about = recipe, about
    return predictor


def _cannot_freeze(what: str, module: Module) -> TypeError:
    return TypeError(
        f"{what} is a {type(module).__name__} of your own, which the core cannot freeze; "
        "model.eval() and model.predict do without"
    )
