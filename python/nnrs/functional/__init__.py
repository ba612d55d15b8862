"""Functions on arrays: what the layers compute, forward and backward, without any object around it.

Every function takes arrays, lists or numbers and returns a fresh array, or fills `out`. The dtype that goes
in comes out: float32 or float64. Two float dtypes in one call are a TypeError; lists and integers take the
dtype of the float arrays beside them, else float64.

- `linear`: the affine map of a layer
- `relu`, `step`, `sigmoid`, `tanh`, `leaky_relu`, `elu`, `selu`, `gelu`, `silu`, `mish`, `softplus`:
  activations, element by element
- `softmax`, `log_softmax`: along an axis
- `mse_loss`, `l1_loss`, `huber_loss`, `binary_cross_entropy`, `binary_cross_entropy_with_logits`,
  `nll_loss`, `cross_entropy`, `hinge_loss`, `perceptron_loss`: what training makes small

`name_backward` is the derivative of `name`; `step` alone has none. The backward of an activation takes the
*input* of its forward.

Examples
--------
>>> import nnrs.functional as F
>>> F.linear([1, 2, 3, 2.5], [[0.2, 0.8, -0.5, 1.0], [0.5, -0.91, 0.26, -0.5]], [2, 3])
array([4.8 , 1.21])
"""

from __future__ import annotations

from nnrs.functional.classification import (
    binary_cross_entropy,
    binary_cross_entropy_backward,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_backward,
    cross_entropy,
    cross_entropy_backward,
    nll_loss,
    nll_loss_backward,
)
from nnrs.functional.gated import gelu, gelu_backward, mish, mish_backward, silu, silu_backward
from nnrs.functional.linear import linear, linear_backward
from nnrs.functional.margin import (
    hinge_loss,
    hinge_loss_backward,
    perceptron_loss,
    perceptron_loss_backward,
)
from nnrs.functional.rectifier import (
    elu,
    elu_backward,
    leaky_relu,
    leaky_relu_backward,
    relu,
    relu_backward,
    selu,
    selu_backward,
    softplus,
    softplus_backward,
)
from nnrs.functional.regression import (
    huber_loss,
    huber_loss_backward,
    l1_loss,
    l1_loss_backward,
    mse_loss,
    mse_loss_backward,
)
from nnrs.functional.softmax import (
    log_softmax,
    log_softmax_backward,
    softmax,
    softmax_backward,
)
from nnrs.functional.squashing import sigmoid, sigmoid_backward, step, tanh, tanh_backward

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "hinge_loss",
    "hinge_loss_backward",
    "huber_loss",
    "huber_loss_backward",
    "l1_loss",
    "l1_loss_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "linear",
    "linear_backward",
    "log_softmax",
    "log_softmax_backward",
    "mish",
    "mish_backward",
    "mse_loss",
    "mse_loss_backward",
    "nll_loss",
    "nll_loss_backward",
    "perceptron_loss",
    "perceptron_loss_backward",
    "relu",
    "relu_backward",
    "selu",
    "selu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softplus",
    "softplus_backward",
    "step",
    "tanh",
    "tanh_backward",
]
