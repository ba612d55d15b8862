"""The base of every layer and every model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs import task as tasks
from nnrs.nn.parameter import Flat, join, layout
from nnrs.nn.registry import Registry
from nnrs.nn.state import load_state, state_of

if TYPE_CHECKING:
    import os

    from typing_extensions import Self

    from nnrs.predictor import Predictor

__all__ = ["Module"]

Array = NDArray[Any]


class Module(Registry):
    """Base of all layers and models; subclass it to write your own.

    A subclass writes `forward` and `backward`. Assigning an `nn.Parameter`, a module or, with
    `register_buffer`, an array to an attribute makes it part of the state. There is no tape: `forward` keeps
    what `backward` needs, and `backward` calls those of the modules it used, in reverse order.

    Attributes
    ----------
    training : bool
        Set by `train` and `eval`. A new module is in training mode.
    task : {"multiclass", "binary", "multilabel", "regression"} or None
        What the outputs mean, for `predict`. `Trainer` sets it from the loss and the targets.
    classes_ : array or None
        The labels of the classes, where they are not 0, 1, ….
    feature_names_ : list of str or None
        Names of the columns of a data frame that the model was trained on.
    metadata : dict of str to str
        Further texts that came out of the file, or go into it with `save`.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         self.factor = nn.Parameter([2.0])
    ...     def forward(self, x):
    ...         self.x = x
    ...         return x * self.factor
    ...     def backward(self, dout):
    ...         self.factor.grad += (dout * self.x).sum()
    ...         return dout * self.factor
    >>> module = Scale()
    >>> module(np.ones((1, 2)))
    array([[2., 2.]])
    >>> module.backward(np.ones((1, 2)))
    array([[2., 2.]])
    >>> module.factor.grad
    array([2.])
    """

    _task: str | None = None
    _classes: Array | None = None
    _feature_names: list[str] | None = None
    _metadata: dict[str, str] | None = None

    # Buffers that `load_state_dict` may give another shape.
    _resizable: ClassVar[tuple[str, ...]] = ()

    def __call__(self, *inputs: Any) -> Any:
        """Compute the outputs: the same as `forward`."""
        return self.forward(*inputs)

    def forward(self, *inputs: Any) -> Any:
        """Compute the outputs; in training mode, keep what `backward` needs.

        Raises
        ------
        NotImplementedError
            If the class does not write it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward; write one: forward(self, x)")

    def backward(self, dout: Any) -> Any:
        """Add into the gradients of the parameters, and return the gradient with respect to the input.

        Raises
        ------
        NotImplementedError
            If the class does not write it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward; write one: backward(self, dout)")

    def config(self) -> dict[str, Any]:
        """Return the arguments that make another module like this one, as a file holds them.

        Overwrite it in a module of your own that takes arguments: `nnrs.load` calls the class with them.

        Returns
        -------
        dict
            Of what JSON knows: numbers, strings, bools, None, lists and dicts of these.
        """
        return {}

    # Modes

    def train(self, mode: bool = True) -> Self:
        """Set training mode (or evaluation mode) here and below, and return the module.

        Parameters
        ----------
        mode : bool

        Returns
        -------
        Module
        """
        return self._set_modes([(module, bool(mode)) for module in self.modules()])

    def eval(self) -> Self:
        """Set evaluation mode here and below, and return the module."""
        return self.train(False)

    def _set_modes(self, modes: list[tuple[Module, bool]]) -> Self:
        others = [(module, mode) for module, mode in modes if module.training is not mode]
        for module, mode in others:
            module.__dict__["training"] = mode
        if others:
            self._modes_changed()
        return self

    def _modes_changed(self) -> None:
        """Look again at what was compiled for other modes, here, below and above."""
        for module in self.modules():
            module._check_modes()
        above: Any = self._holder()
        while above is not None:
            above._check_modes()
            above = above._holder()

    def _check_modes(self) -> None:
        """Drop what was compiled for modes that are no longer so."""

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        # Nothing is written where all are in evaluation mode already: then many threads may predict at once.
        before = [(module, module.training) for module in self.modules()]
        if not any(training for _, training in before):
            yield
            return
        self.eval()
        try:
            yield
        finally:
            self._set_modes(before)

    # Parameters and state

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def flat_parameters(self) -> Array:
        """Return all parameters as one writable view of the model's buffer.

        Segments follow the order of `parameters`; each starts at a multiple of 16 elements, gaps are zero.

        Returns
        -------
        (length,) float32 or float64 array
        """
        flat, start, stop = self._segment()
        return flat.data[start:stop]

    def flat_gradients(self) -> Array:
        """Return all gradients as one writable view, of the layout of `flat_parameters`.

        Returns
        -------
        (length,) float32 or float64 array
        """
        flat, start, stop = self._segment()
        return flat.grad[start:stop]

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers, by their paths.

        Returns
        -------
        dict of str to array
        """
        return state_of(self)

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take over the values of a `state_dict`.

        Everything is checked before the first value is written.

        Parameters
        ----------
        state : mapping of str to array

        Raises
        ------
        ValueError
            If a name is missing or unknown, or a shape differs.
        TypeError
            If a value holds no real numbers.
        """
        load_state(self, state)

    def _check_buffers(self, arrays: dict[str, Array]) -> None:
        """Refuse arrays for own parameters and buffers that do not go together, before any is written."""

    def _take_buffer(self, name: str, array: Array) -> None:
        """Take over the value of an own buffer."""
        held = self._buffers[name]
        if held is None:
            self.register_buffer(name, array.copy())
        else:
            held[...] = array

    def _join(self) -> Flat:
        """Bring all parameters into one pair of buffers, if they are not, and return the pair."""
        return join(list(self.parameters()))

    def _segment(self) -> tuple[Flat, int, int]:
        flat = self._join()
        parameters = list(self.parameters())
        if not parameters:
            return flat, 0, 0
        offsets, length = layout(parameters)
        start = parameters[0]._offset
        if [parameter._offset - start for parameter in parameters] != offsets:
            raise RuntimeError(
                f"the parameters of this {type(self).__name__} do not lie side by side in their buffer; "
                "an optimiser has brought them together with others"
            )
        return flat, start, start + length

    # Meaning of the outputs

    @property
    def task(self) -> str | None:
        """What the outputs mean."""
        return self._task

    @task.setter
    def task(self, value: str | None) -> None:
        self._task = tasks.check_task(value)

    @property
    def classes_(self) -> Array | None:
        """Labels of the classes."""
        return self._classes

    @classes_.setter
    def classes_(self, value: ArrayLike | None) -> None:
        self._classes = tasks.check_classes(value)

    @property
    def feature_names_(self) -> list[str] | None:
        """Names of the features."""
        return self._feature_names

    @feature_names_.setter
    def feature_names_(self, value: Sequence[str] | None) -> None:
        self._feature_names = tasks.check_names(value)

    @property
    def metadata(self) -> dict[str, str]:
        """Further texts of the file."""
        if self._metadata is None:
            self._metadata = {}
        return self._metadata

    @metadata.setter
    def metadata(self, value: Mapping[str, str]) -> None:
        self._metadata = dict(value)

    def fit_scalers(self, x: Any, rows: NDArray[np.int64] | None = None) -> None:
        """Let the model's scalers learn from training data.

        Parameters
        ----------
        x : (batch, features), or with `Flatten` any further axes, real numbers
        rows : (n,) int64, optional
            Only these rows.

        Raises
        ------
        ValueError
            If there are no rows, or a value is not finite.
        """
        from nnrs.nn.scale import Scaler

        for module in self.modules():
            if isinstance(module, Scaler):
                module.learn(tasks.take_columns(x, self.feature_names_), rows)

    def predict(self, x: Any, batch_size: int | None = None, threshold: float = 0.5) -> Any:
        """Return labels, or values for regression, in evaluation mode.

        Parameters
        ----------
        x : (batch, features) or (features,) real numbers
            A data frame too; its columns are found by name where the model knows names.
        batch_size : int, optional
            Rows at a time, to limit memory; the result does not depend on it.
        threshold : float in 0..1
            The probability from which on "binary" and "multilabel" say 1.

        Returns
        -------
        (batch,) labels for "multiclass" and "binary"; (batch, outputs) of 0 and 1 for "multilabel";
        (batch,) values for "regression" with one output, else (batch, outputs). Without the first axis for
        one row.

        Raises
        ------
        ValueError
            If the model has no task.
        """
        task, ending, classes = self.task, self._ending(), self.classes_
        return self._read(x, batch_size, lambda out: tasks.decide(out, task, ending, threshold, classes))

    def predict_proba(self, x: Any, batch_size: int | None = None) -> Array:
        """Return probabilities, in evaluation mode.

        Parameters
        ----------
        x : (batch, features) or (features,) real numbers
        batch_size : int, optional
            Rows at a time, to limit memory; the result does not depend on it.

        Returns
        -------
        (batch, classes) array; (batch, 2) for "binary", (batch, outputs) for "multilabel". Without the first
        axis for one row.

        Raises
        ------
        ValueError
            If the model has no task, or its task is "regression".
        """
        found: Array = self._read(
            x, batch_size, lambda out: tasks.probabilities(out, self.task, self._ending())
        )
        return found

    def _read(self, x: Any, batch_size: int | None, meaning: Callable[[Array], Any]) -> Any:
        with self._evaluating():
            return tasks.read(self.forward, x, self.feature_names_, batch_size, meaning)

    def _ending(self) -> str | None:
        """Return what is applied last, where it is one of softmax, log_softmax, sigmoid and step."""
        return None

    # Files, serving, and a look at the whole

    def save(self, path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None) -> None:
        """Write the model to a safetensors file.

        The file is complete or it is not there: it is written beside its place and then renamed.

        Parameters
        ----------
        path : path-like
        metadata : dict of str to str, optional
            Further texts for the file, besides those in `self.metadata`.

        Raises
        ------
        ValueError
            If a parameter is not finite, or a name of `metadata` is one of nnrs's own.
        TypeError
            If a module's `config` holds what JSON does not know.
        OSError
            If the file cannot be written.

        See Also
        --------
        nnrs.load : reads it.
        """
        from nnrs.file import save

        save(self, path, metadata)

    def freeze(
        self, precision: str | None = None, *, fold: bool = False, num_threads: int | None = None
    ) -> Predictor:
        """Return an immutable predictor with a packed copy of the weights.

        Parameters
        ----------
        precision : {"highest", "high", "medium"}, optional
            None takes `nnrs.get_float32_matmul_precision()`.
        fold : bool
            Work the scaler into the first layer's weights: fewer operations, other rounding.
        num_threads : int, optional
            At most so many threads a call.

        Returns
        -------
        Predictor
            By default it gives the same bits as the model in evaluation mode.

        Raises
        ------
        TypeError
            If a module of your own is in the model: what the core does not know cannot be frozen.
        """
        from nnrs.predictor import freeze

        return freeze(self, precision, fold=fold, num_threads=num_threads)

    def summary(self) -> str:
        """Return a table of the modules: path and kind, shape of the outputs, number of parameters.

        Returns
        -------
        str
        """
        from nnrs.nn.summary import summarize

        return summarize(self)

    def __repr__(self) -> str:
        # Asked of the class: a user's module may well keep something of its own in self.config.
        arguments = ", ".join(f"{name}={value!r}" for name, value in type(self).config(self).items())
        lines = [f"{name}: {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        inside = "".join(f"\n  {line}" for line in lines) + "\n" if lines else ""
        return f"{type(self).__name__}({arguments}{inside})"
