"""The compiled core. Shapes: x (batch, in_features), weight (out_features, in_features)."""

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Self, disjoint_base

__all__ = [
    "Buffer",
    "FileFormatError",
    "Loss",
    "Network",
    "Optimizer",
    "Predictor",
    "Session",
    "__version__",
    "activation",
    "activation_backward",
    "available_isas",
    "cache_sizes",
    "fma_peak",
    "get_float32_matmul_precision",
    "get_num_threads",
    "isa",
    "linear",
    "linear_backward",
    "load_safetensors",
    "num_threads_source",
    "parallel_threads_used",
    "permutation",
    "random_normal",
    "random_orthogonal",
    "random_uniform",
    "read_bandwidth",
    "reset_parallel_threads_used",
    "save_safetensors",
    "set_float32_matmul_precision",
    "set_local_num_threads",
    "set_num_threads",
    "softmax",
    "softmax_backward",
]

_Array = NDArray[Any]

__version__: str

class FileFormatError(ValueError): ...

# Configuration
def isa() -> str: ...
def available_isas() -> list[str]: ...
def cache_sizes() -> dict[str, int]: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def num_threads_source() -> str: ...
def set_local_num_threads(n: int | None) -> int | None: ...
def set_float32_matmul_precision(mode: str) -> None: ...
def get_float32_matmul_precision() -> str: ...
def parallel_threads_used() -> int: ...
def reset_parallel_threads_used() -> None: ...

# What one core reaches: operations a second; bytes a second read from a buffer of so many.
def fma_peak(dtype: str, seconds: float = 0.05) -> float: ...
def read_bandwidth(bytes: int, seconds: float = 0.05) -> float: ...  # noqa: A002

# Random numbers: Philox4x32-10, keyed by (seed, purpose, step), counted by (layer, row, column).
# purpose: "init" | "shuffle" | "split" | "dropout" | "data" | "stratify"
def random_uniform(
    seed: int,
    purpose: str,
    step: int,
    layer: int,
    shape: tuple[int, ...],
    low: float,
    high: float,
    dtype: str,
) -> _Array: ...
def random_normal(
    seed: int,
    purpose: str,
    step: int,
    layer: int,
    shape: tuple[int, ...],
    mean: float,
    std: float,
    dtype: str,
) -> _Array: ...
def random_orthogonal(seed: int, layer: int, shape: tuple[int, int], dtype: str) -> _Array: ...
def permutation(seed: int, purpose: str, step: int, n: int) -> NDArray[np.int64]: ...

# Functions on arrays; they check and convert their arguments themselves.
def linear(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    activation: str | None = None,
    out: _Array | None = None,
) -> _Array: ...
def linear_backward(
    dout: ArrayLike, x: ArrayLike, weight: ArrayLike, need_dx: bool = True
) -> tuple[_Array | None, _Array, _Array]: ...

# name: relu step sigmoid tanh leaky_relu elu selu gelu gelu_tanh silu mish softplus identity
# alpha: the slope of leaky_relu, alpha of elu, beta of softplus
def activation(name: str, x: ArrayLike, out: _Array | None = None, alpha: float = 0.0) -> _Array: ...
def activation_backward(
    name: str, dout: ArrayLike, x: ArrayLike, out: _Array | None = None, alpha: float = 0.0
) -> _Array: ...
def softmax(x: ArrayLike, log: bool = False, out: _Array | None = None) -> _Array: ...
def softmax_backward(
    dout: ArrayLike, x: ArrayLike, log: bool = False, out: _Array | None = None
) -> _Array: ...

@final
class Loss:
    # kind: mse l1 huber bce bce_with_logits nll cross_entropy hinge perceptron
    # parameter: delta of huber, label_smoothing of cross_entropy
    @property
    def kind(self) -> str: ...
    def __new__(
        cls,
        kind: str,
        parameter: float = 0.0,
        class_weight: ArrayLike | None = None,
        pos_weight: ArrayLike | None = None,
    ) -> Self: ...
    def check(self, target: ArrayLike, outputs: int) -> None: ...
    def value(
        self,
        pred: ArrayLike,
        target: ArrayLike,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
    ) -> float | _Array: ...
    def gradient(
        self,
        pred: ArrayLike,
        target: ArrayLike,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
    ) -> _Array: ...
    def value_and_grad(
        self, pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[float, _Array]: ...

@final
class Buffer:
    # One flat, 64-byte aligned, zeroed run of memory; array() is a writable view that keeps it alive.
    @property
    def dtype(self) -> str: ...
    def __new__(cls, dtype: str, length: int) -> Self: ...
    def array(self) -> _Array: ...
    def __len__(self) -> int: ...

@final
class Network:
    # Stages run in order; offsets count elements of the buffers.
    # ("scale", shift, factor): y = (x - shift) * factor, first stage only, arrays in the network's dtype
    # ("linear", in_features, out_features, weight_offset, bias_offset or -1, train_weight, train_bias)
    # ("activation", name, alpha) | ("softmax",) | ("log_softmax",) | ("dropout", p, layer)
    @property
    def in_features(self) -> int: ...
    @property
    def out_features(self) -> int: ...
    def __new__(
        cls,
        dtype: str,
        in_features: int,
        stages: Sequence[tuple[Any, ...]],
        parameters: Buffer,
        gradients: Buffer,
    ) -> Self: ...
    def predict(self, x: _Array, out: _Array | None = None) -> _Array: ...
    def forward(self, x: _Array, seed: int = 0, step: int = 0) -> _Array: ...
    def backward(self, dout: _Array, need_dx: bool = True) -> _Array | None: ...
    def forget(self) -> None: ...

@disjoint_base
class Predictor:
    @property
    def in_features(self) -> int: ...
    @property
    def out_features(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    def __new__(
        cls, network: Network, precision: str = "highest", num_threads: int | None = None
    ) -> Self: ...
    def __call__(self, x: ArrayLike, out: _Array | None = None) -> _Array: ...

@final
class Optimizer:
    # kind: sgd | adam | adamw; segments: (offset, length, group) of every trained parameter
    @property
    def step_count(self) -> int: ...
    @step_count.setter
    def step_count(self, value: int) -> None: ...
    def __new__(
        cls,
        kind: str,
        parameters: Buffer,
        gradients: Buffer,
        segments: Sequence[tuple[int, int, int]],
        groups: Sequence[dict[str, Any]],
    ) -> Self: ...
    def set_group(self, group: int, values: dict[str, Any]) -> None: ...
    def step(self) -> None: ...
    def state_names(self) -> list[str]: ...
    def state(self, name: str) -> _Array: ...
    def powers(self) -> NDArray[np.float64]: ...
    def set_powers(self, values: _Array) -> None: ...

@final
class Session:
    # One training run: every step is gradients, clipping, update.
    @property
    def global_step(self) -> int: ...
    @global_step.setter
    def global_step(self, value: int) -> None: ...
    def __new__(
        cls,
        network: Network,
        loss: Loss,
        optimizer: Optimizer,
        seed: int,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        keep_grad: bool = False,
    ) -> Self: ...
    def step(self, x: _Array, y: _Array, sample_weight: _Array | None = None) -> float: ...
    def gradients(
        self,
        x: _Array,
        y: _Array,
        sample_weight: _Array | None = None,
        first_row: int = 0,
        total_weight: float | None = None,
    ) -> float: ...
    def apply(self) -> None: ...
    # Returns the sum of weight * loss and the sum of the weights over rows[start:stop] of the epoch's order.
    def epoch(
        self,
        x: _Array,
        y: _Array,
        sample_weight: _Array | None = None,
        *,
        batch_size: int,
        epoch: int,
        shuffle: bool = True,
        rows: NDArray[np.int64] | None = None,
        start: int = 0,
        stop: int | None = None,
        learning_rates: _Array | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> tuple[float, float]: ...

def save_safetensors(path: str, tensors: dict[str, _Array], metadata: dict[str, str]) -> None: ...
def load_safetensors(path: str) -> tuple[dict[str, _Array], dict[str, str]]: ...
