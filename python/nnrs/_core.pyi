"""The compiled core. Shapes: x (batch, in_features), weight (out_features, in_features)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

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
) -> Array: ...
def random_normal(
    seed: int,
    purpose: str,
    step: int,
    layer: int,
    shape: tuple[int, ...],
    mean: float,
    std: float,
    dtype: str,
) -> Array: ...
def random_orthogonal(seed: int, layer: int, shape: tuple[int, int], dtype: str) -> Array: ...
def permutation(seed: int, purpose: str, step: int, n: int) -> NDArray[np.int64]: ...

# Functions on arrays; they check and convert their arguments themselves.
def linear(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    activation: str | None = None,
    out: Array | None = None,
) -> Array: ...
def linear_backward(
    dout: ArrayLike, x: ArrayLike, weight: ArrayLike, need_dx: bool = True
) -> tuple[Array | None, Array, Array]: ...

# name: relu step sigmoid tanh leaky_relu elu selu gelu gelu_tanh silu mish softplus identity
# alpha: the slope of leaky_relu, alpha of elu, beta of softplus
def activation(name: str, x: ArrayLike, out: Array | None = None, alpha: float = 0.0) -> Array: ...
def activation_backward(
    name: str, dout: ArrayLike, x: ArrayLike, out: Array | None = None, alpha: float = 0.0
) -> Array: ...
def softmax(x: ArrayLike, log: bool = False, out: Array | None = None) -> Array: ...
def softmax_backward(dout: ArrayLike, x: ArrayLike, log: bool = False, out: Array | None = None) -> Array: ...

class Loss:
    # kind: mse l1 huber bce bce_with_logits nll cross_entropy hinge perceptron
    # parameter: delta of huber, label_smoothing of cross_entropy
    kind: str
    def __init__(
        self,
        kind: str,
        parameter: float = 0.0,
        class_weight: ArrayLike | None = None,
        pos_weight: ArrayLike | None = None,
    ) -> None: ...
    def value(
        self,
        pred: ArrayLike,
        target: ArrayLike,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
    ) -> float | Array: ...
    def gradient(
        self,
        pred: ArrayLike,
        target: ArrayLike,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
    ) -> Array: ...
    def value_and_grad(
        self, pred: ArrayLike, target: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[float, Array]: ...

class Buffer:
    # One flat, 64-byte aligned, zeroed run of memory; array() is a writable view that keeps it alive.
    dtype: str
    def __init__(self, dtype: str, length: int) -> None: ...
    def array(self) -> Array: ...
    def __len__(self) -> int: ...

class Network:
    # Stages run in order; offsets count elements of the buffers.
    # ("scale", shift, factor): y = (x - shift) * factor, first stage only, arrays in the network's dtype
    # ("linear", in_features, out_features, weight_offset, bias_offset or -1, train_weight, train_bias)
    # ("activation", name, alpha) | ("softmax",) | ("log_softmax",) | ("dropout", p, layer)
    in_features: int
    out_features: int
    def __init__(
        self,
        dtype: str,
        in_features: int,
        stages: Sequence[tuple[Any, ...]],
        parameters: Buffer,
        gradients: Buffer,
    ) -> None: ...
    def predict(self, x: Array, out: Array | None = None) -> Array: ...
    def forward(self, x: Array, seed: int = 0, step: int = 0) -> Array: ...
    def backward(self, dout: Array, need_dx: bool = True) -> Array | None: ...
    def forget(self) -> None: ...
    def freeze(self, precision: str = "highest", num_threads: int | None = None) -> Predictor: ...

class Predictor:
    in_features: int
    out_features: int
    dtype: str
    def __new__(cls, network: Network | None, packed: Any = None) -> Predictor: ...
    def __call__(self, x: ArrayLike, out: Array | None = None) -> Array: ...

class Optimizer:
    # kind: sgd | adam | adamw; segments: (offset, length, group) of every trained parameter
    step_count: int
    def __init__(
        self,
        kind: str,
        parameters: Buffer,
        gradients: Buffer,
        segments: Sequence[tuple[int, int, int]],
        groups: Sequence[dict[str, Any]],
    ) -> None: ...
    def set_group(self, group: int, values: dict[str, Any]) -> None: ...
    def step(self) -> None: ...
    def state_names(self) -> list[str]: ...
    def state(self, name: str) -> Array: ...
    def powers(self) -> NDArray[np.float64]: ...
    def set_powers(self, values: Array) -> None: ...

class Session:
    # One training run: every step is gradients, clipping, update.
    global_step: int
    def __init__(
        self,
        network: Network,
        loss: Loss,
        optimizer: Optimizer,
        seed: int,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        keep_grad: bool = False,
    ) -> None: ...
    def step(self, x: Array, y: Array, sample_weight: Array | None = None) -> float: ...
    def gradients(
        self,
        x: Array,
        y: Array,
        sample_weight: Array | None = None,
        first_row: int = 0,
        total_weight: float | None = None,
    ) -> float: ...
    def apply(self) -> None: ...
    # Returns the sum of weight * loss and the sum of the weights over rows[start:stop] of the epoch's order.
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
        start: int = 0,
        stop: int | None = None,
        learning_rates: Array | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> tuple[float, float]: ...

def save_safetensors(path: str, tensors: dict[str, Array], metadata: dict[str, str]) -> None: ...
def load_safetensors(path: str) -> tuple[dict[str, Array], dict[str, str]]: ...
