"""The functions of `nnrs.functional` by their names, in torch: its own kernels, no tape.

A backward has the *input* of its forward, as in nnrs, and not the output that some of torch's kernels take.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

aten = torch.ops.aten
ZERO = torch.zeros(())
MEAN = 1
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805

linear = F.linear
relu = torch.relu
sigmoid = torch.sigmoid
tanh = torch.tanh
leaky_relu = F.leaky_relu
elu = F.elu
selu = torch.selu
gelu = F.gelu
silu = F.silu
mish = F.mish
softplus = F.softplus
mse_loss = F.mse_loss
l1_loss = F.l1_loss
huber_loss = F.huber_loss
binary_cross_entropy = F.binary_cross_entropy
binary_cross_entropy_with_logits = F.binary_cross_entropy_with_logits
nll_loss = F.nll_loss
cross_entropy = F.cross_entropy


def step(x):
    return torch.heaviside(x, ZERO)


def relu_backward(dout, x):
    return aten.threshold_backward(dout, x, 0)


def sigmoid_backward(dout, x):
    return aten.sigmoid_backward(dout, torch.sigmoid(x))


def tanh_backward(dout, x):
    return aten.tanh_backward(dout, torch.tanh(x))


def leaky_relu_backward(dout, x):
    return aten.leaky_relu_backward(dout, x, 0.01, False)


def elu_backward(dout, x):
    return aten.elu_backward(dout, 1.0, 1.0, 1.0, False, x)


def selu_backward(dout, x):
    return aten.elu_backward(dout, SELU_ALPHA, SELU_SCALE, 1.0, False, x)


def gelu_backward(dout, x):
    return aten.gelu_backward(dout, x)


def gelu_tanh(x):
    return F.gelu(x, approximate="tanh")


def gelu_tanh_backward(dout, x):
    return aten.gelu_backward(dout, x, approximate="tanh")


def silu_backward(dout, x):
    return aten.silu_backward(dout, x)


def mish_backward(dout, x):
    return aten.mish_backward(dout, x)


def softplus_backward(dout, x):
    return aten.softplus_backward(dout, x, 1.0, 20.0)


def softmax(x):
    return torch.softmax(x, 1)


def softmax_backward(dout, x):
    return aten._softmax_backward_data(dout, torch.softmax(x, 1), 1, x.dtype)


def log_softmax(x):
    return torch.log_softmax(x, 1)


def log_softmax_backward(dout, x):
    return aten._log_softmax_backward_data(dout, torch.log_softmax(x, 1), 1, x.dtype)


def mse_loss_backward(pred, target):
    return aten.mse_loss_backward(torch.ones(()), pred, target, MEAN)


def l1_loss_backward(pred, target):
    return (pred - target).sign_().div_(len(pred))


def huber_loss_backward(pred, target):
    return aten.huber_loss_backward(torch.ones(()), pred, target, MEAN, 1.0)


def binary_cross_entropy_backward(pred, target):
    return aten.binary_cross_entropy_backward(torch.ones(()), pred, target)


def binary_cross_entropy_with_logits_backward(pred, target):
    return torch.sigmoid(pred).sub_(target).div_(len(pred))


def nll_loss_backward(pred, target):
    return torch.zeros_like(pred).scatter_(1, target[:, None], -1 / len(pred))


def cross_entropy_backward(pred, target):
    out = torch.softmax(pred, 1)
    out[torch.arange(len(pred)), target] -= 1
    return out.div_(len(pred))


def hinge_loss(pred, target):
    return torch.mul(pred, target).neg_().add_(1).clamp_min_(0).mean()


def hinge_loss_backward(pred, target):
    return torch.where(pred * target < 1, target * (-1 / len(pred)), ZERO)


def perceptron_loss(pred, target):
    return torch.mul(pred, target).neg_().clamp_min_(0).mean()


def perceptron_loss_backward(pred, target):
    return torch.where(pred * target < 0, target * (-1 / len(pred)), ZERO)
