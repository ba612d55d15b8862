"""Models: modules one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from nnrs.nn.activation import named_activation
from nnrs.nn.compiled import Compiled
from nnrs.nn.dropout import Dropout
from nnrs.nn.linear import Linear, check_dtype, check_size
from nnrs.nn.module import Module
from nnrs.nn.modulelist import ModuleList, check_modules
from nnrs.nn.program import Clock, check_order
from nnrs.random import resolve_seed

__all__ = ["MLP", "Sequential"]


class Sequential(Compiled):
    """Modules one after the other: the outputs of each are the inputs of the next.

    All parameters move into one buffer. Runs of nnrs's own modules are compiled: a model of these alone takes
    one call into the core for a prediction, a forward or a backward. Modules of your own may stand anywhere
    between.

    Parameters
    ----------
    *modules : Module
        Scalers first. Each module has one place in one network.
    seed : int, optional
        Draws all weights of `Linear` layers anew, but those whose values were set; keys the masks of dropout.
        None leaves the weights and takes a seed of `nnrs.manual_seed`, or of the operating system.
    dtype : {"float32", "float64"}, optional
        dtype of all parameters; None takes that of the `Linear` layers, which must agree.
    task : {"multiclass", "binary", "multilabel", "regression"}, optional
        What the outputs mean, for `predict`; `Trainer` sets it.

    Raises
    ------
    ValueError
        If a module is used twice or is in another network, if widths do not fit, or a scaler is not first.
    TypeError
        If one is no module.

    Notes
    -----
    torch's `torch.nn.Sequential`. A slice is a list of modules; for a network of copies write
    `nn.Sequential(*copy.deepcopy(model[:2]))`.

    Examples
    --------
    >>> import numpy as np
    >>> from nnrs import nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), seed=0, task="multiclass")
    >>> logits = model(np.ones((5, 4), "float32"))
    >>> logits.shape
    (5, 3)
    >>> model.backward(np.ones((5, 3), "float32")).shape
    (5, 4)
    >>> model.predict(np.ones((5, 4), "float32")).shape
    (5,)
    """

    _dtype: str | None = None

    def __init__(
        self, *modules: Module, seed: int | None = None, dtype: str | None = None, task: str | None = None
    ) -> None:
        self._dtype = None if dtype is None else check_dtype(dtype)
        self.task = task
        clock = Clock(resolve_seed(seed))
        self._clock = clock
        self._check(list(modules))
        for number, module in enumerate(modules):
            setattr(self, str(number), module)
        if seed is not None:
            layers = [module for module in self.modules() if isinstance(module, Linear)]
            for number, layer in enumerate(layers):
                layer._draw(clock.seed, number, self.dtype or "float32")
        self._join()

    def append(self, module: Module) -> Sequential:
        """Add a module at the end, and return the model."""
        self._check([*self, module])
        setattr(self, str(len(self)), module)
        self._join()
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Module]: ...
    def __getitem__(self, index: int | slice) -> Module | Sequence[Module]:
        return list(self.children())[index]

    def __setitem__(self, index: int, module: Module) -> None:
        number = range(len(self))[index]
        modules = list(self)
        modules[number] = module
        self._check(modules)
        setattr(self, str(number), module)
        self._join()

    def _check(self, modules: list[Module]) -> None:
        """Refuse what cannot be one network, before anything is taken."""
        check_modules(self, modules, 0)
        for number, module in enumerate(modules):
            if isinstance(module, ModuleList):
                raise TypeError(f"module {number} is a ModuleList, which has no forward; expected *modules")
        kinds = {
            layer.weight._dtype_name
            for module in modules
            for layer in module.modules()
            if isinstance(layer, Linear)
        }
        if len(kinds) > 1 and self._dtype is None:
            raise ValueError(f"Linear layers have dtypes {' and '.join(sorted(kinds))}; choose one by dtype=")
        check_order([leaf for number, module in enumerate(modules) for leaf in _open(str(number), module)])

    def _own_dtype(self) -> str | None:
        if self._dtype is not None:
            return self._dtype
        layer = next((module for module in self.modules() if isinstance(module, Linear)), None)
        first = next(self.parameters(), None) if layer is None else layer.weight
        return None if first is None else first._dtype_name

    def _leaves(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        for name, module in self.named_children():
            yield from _open(f"{prefix}.{name}" if prefix else name, module)


class MLP(Sequential):
    """A multi-layer perceptron: Linear, activation and dropout for each hidden size, and a last Linear.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of inputs, of units of each hidden layer, and of outputs.
    activation : str or None
        Between the layers: "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus",
        "sigmoid", "tanh", "identity", or None for none.
    dropout : float
        After each activation, 0 ≤ dropout < 1; 0 leaves the layers out.
    norm : None
        There is no normalisation between the layers.
    seed : int, optional
        As in `Sequential`.
    dtype : {"float32", "float64"}
    task : {"multiclass", "binary", "multilabel", "regression"}, optional
        As in `Sequential`.

    Raises
    ------
    ValueError
        If there are fewer than two sizes, or an argument is none of those above.
    TypeError
        If a size is no int.

    Examples
    --------
    >>> from nnrs import nn
    >>> [type(layer).__name__ for layer in nn.MLP([64, 128, 10], dropout=0.1)]
    ['Linear', 'ReLU', 'Dropout', 'Linear']
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | None = "relu",
        dropout: float = 0.0,
        norm: None = None,
        seed: int | None = None,
        dtype: str = "float32",
        task: str | None = None,
    ) -> None:
        widths = [check_size(f"sizes[{number}]", size) for number, size in enumerate(sizes)]
        if len(widths) < 2:
            raise ValueError(
                f"sizes is {list(sizes)}; expected inputs and outputs at least, such as [64, 10]"
            )
        if norm is not None:
            raise ValueError(f"norm is {norm!r}; expected None")
        modules: list[Module] = []
        for number in range(1, len(widths)):
            modules.append(Linear(widths[number - 1], widths[number], dtype=dtype))
            if number < len(widths) - 1:
                if activation is not None:
                    modules.append(named_activation(activation))
                if dropout:
                    modules.append(Dropout(dropout))
        super().__init__(*modules, seed=seed, dtype=dtype, task=task)


def _open(path: str, module: Module) -> Iterator[tuple[str, Module]]:
    """Open nested models; those with a forward of the user's stay whole."""
    if isinstance(module, Sequential) and module._in_core():
        yield from module._leaves(path)
    else:
        yield path, module
