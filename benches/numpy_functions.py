"""The functions of `nnrs.functional` by their names, in NumPy: one fresh array, then in place where it helps.

NumPy has no erf, so `gelu` is not here.
"""

from __future__ import annotations

import numpy as np

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
GELU_INNER = 0.7978845608028654  # √(2/π)
GELU_CUBE = 0.044715
# Below so many elements the shorter program wins over the faster one.
FEW = 100


def linear(x, weight, bias):
    out = np.dot(x, weight.T)
    out += bias
    return out


def relu(x):
    return np.maximum(x, 0)


def relu_backward(dout, x):
    return dout * (x > 0)


def step(x):
    return (x > 0).astype(x.dtype)


def sigmoid(x):
    out = np.negative(x)
    np.exp(out, out=out)
    out += 1
    return np.reciprocal(out, out=out)


def sigmoid_backward(dout, x):
    y = sigmoid(x)
    out = 1 - y
    out *= y
    out *= dout
    return out


tanh = np.tanh


def tanh_backward(dout, x):
    out = np.tanh(x)
    out *= out
    np.subtract(1, out, out=out)
    out *= dout
    return out


def leaky_relu(x):
    out = x * np.float32(0.01)
    return np.maximum(x, out, out=out)


def leaky_relu_backward(dout, x):
    return np.where(x > 0, dout, dout * np.float32(0.01))


def elu(x):
    out = np.minimum(x, 0)
    np.expm1(out, out=out)
    out += np.maximum(x, 0)
    return out


def elu_backward(dout, x):
    out = np.minimum(x, 0)
    np.exp(out, out=out)
    out *= dout
    return out


def selu(x):
    out = np.minimum(x, 0)
    np.expm1(out, out=out)
    out *= SELU_ALPHA
    out += np.maximum(x, 0)
    out *= SELU_SCALE
    return out


def selu_backward(dout, x):
    out = np.minimum(x, 0)
    np.exp(out, out=out)
    out *= SELU_ALPHA
    out[x > 0] = 1
    out *= SELU_SCALE
    out *= dout
    return out


def gelu_tanh(x):
    out = x * x
    out *= GELU_CUBE * GELU_INNER
    out += GELU_INNER
    out *= x
    np.tanh(out, out=out)
    out += 1
    out *= x
    out *= 0.5
    return out


def gelu_tanh_backward(dout, x):
    square = x * x
    inner = square * (GELU_CUBE * GELU_INNER)
    inner += GELU_INNER
    inner *= x
    np.tanh(inner, out=inner)
    slope = np.multiply(square, 3 * GELU_CUBE * GELU_INNER, out=square)
    slope += GELU_INNER
    slope *= x
    slope *= 1 - inner * inner
    inner += 1
    inner += slope
    inner *= dout
    inner *= 0.5
    return inner


def silu(x):
    out = sigmoid(x)
    out *= x
    return out


def silu_backward(dout, x):
    y = sigmoid(x)
    out = 1 - y
    out *= x
    out += 1
    out *= y
    out *= dout
    return out


def softplus(x):
    if x.size < FEW:
        return np.logaddexp(x, 0)
    out = np.abs(x)
    np.negative(out, out=out)
    np.exp(out, out=out)
    np.log1p(out, out=out)
    out += np.maximum(x, 0)
    return out


def softplus_backward(dout, x):
    out = sigmoid(x)
    out *= dout
    return out


def mish(x):
    out = softplus(x)
    np.tanh(out, out=out)
    out *= x
    return out


def mish_backward(dout, x):
    y = np.tanh(softplus(x))
    out = 1 - y * y
    out *= sigmoid(x)
    out *= x
    out += y
    out *= dout
    return out


def softmax(x):
    out = x - x.max(axis=1, keepdims=True)
    np.exp(out, out=out)
    out /= out.sum(axis=1, keepdims=True)
    return out


def softmax_backward(dout, x):
    y = softmax(x)
    out = dout - (dout * y).sum(axis=1, keepdims=True)
    out *= y
    return out


def log_softmax(x):
    out = x - x.max(axis=1, keepdims=True)
    out -= np.log(np.exp(out).sum(axis=1, keepdims=True))
    return out


def log_softmax_backward(dout, x):
    out = softmax(x)
    out *= dout.sum(axis=1, keepdims=True)
    return np.subtract(dout, out, out=out)


def mse_loss(pred, target):
    difference = (pred - target).ravel()
    return np.dot(difference, difference) / len(difference)


def mse_loss_backward(pred, target):
    out = pred - target
    out *= 2 / len(out)
    return out


def l1_loss(pred, target):
    out = pred - target
    return np.abs(out, out=out).mean()


def l1_loss_backward(pred, target):
    out = pred - target
    np.sign(out, out=out)
    out /= len(out)
    return out


def huber_loss(pred, target):
    size = pred - target
    np.abs(size, out=size)
    small = np.minimum(size, 1)
    size -= 0.5 * small
    size *= small
    return size.mean()


def huber_loss_backward(pred, target):
    out = pred - target
    np.clip(out, -1, 1, out=out)
    out /= len(out)
    return out


def binary_cross_entropy(pred, target):
    first, second = np.log(pred), np.log1p(-pred)
    first -= second
    first *= target
    first += second
    return -first.mean()


def binary_cross_entropy_backward(pred, target):
    out = pred - target
    scale = 1 - pred
    scale *= pred
    scale *= len(out)
    out /= scale
    return out


def binary_cross_entropy_with_logits(pred, target):
    return (softplus(pred) - pred * target).mean()


def binary_cross_entropy_with_logits_backward(pred, target):
    out = sigmoid(pred)
    out -= target
    out /= len(out)
    return out


def nll_loss(pred, target):
    return -pred[np.arange(len(pred)), target].mean()


def nll_loss_backward(pred, target):
    out = np.zeros_like(pred)
    out[np.arange(len(pred)), target] = -1 / len(pred)
    return out


def cross_entropy(pred, target):
    largest = pred.max(axis=1, keepdims=True)
    powers = pred - largest
    np.exp(powers, out=powers)
    return (np.log(powers.sum(axis=1)) + largest[:, 0] - pred[np.arange(len(pred)), target]).mean()


def cross_entropy_backward(pred, target):
    out = softmax(pred)
    out[np.arange(len(pred)), target] -= 1
    out /= len(pred)
    return out


def hinge_loss(pred, target):
    out = pred * target
    np.subtract(1, out, out=out)
    return np.maximum(out, 0, out=out).mean()


def hinge_loss_backward(pred, target):
    return np.where(pred * target < 1, target * np.float32(-1 / len(pred)), np.float32(0))


def perceptron_loss(pred, target):
    out = pred * target
    np.negative(out, out=out)
    return np.maximum(out, 0, out=out).mean()


def perceptron_loss_backward(pred, target):
    return np.where(pred * target < 0, target * np.float32(-1 / len(pred)), np.float32(0))
