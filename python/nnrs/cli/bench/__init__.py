"""`nnrs bench`: one training step and one prediction, beside the same written by hand in NumPy."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnrs import _core, nn, optim
from nnrs.cli import options
from nnrs.trainer import Trainer

__all__ = ["ByHand", "add_parser", "interleaved"]

Floats = NDArray[np.float32]

_CASES = (([64, 32, 10], 32), ([784, 128, 64, 10], 64), ([784, 512, 256, 10], 128))


class ByHand:
    """A ReLU network with softmax, cross-entropy and Adam, as one would write it in NumPy with care.

    float32 throughout, parameters and gradients in one flat array each, so that Adam is one pass of
    operations written into arrays that are there already.

    Parameters
    ----------
    sizes : list of int
        Inputs, hidden widths, outputs.
    parameters : list of float32 arrays
        Weight (out, in) and bias (out,) of every layer, in turn; copied.
    lr : float
    """

    def __init__(self, sizes: list[int], parameters: list[Floats], lr: float = 1e-3) -> None:
        self.lr = lr
        self.flat = np.concatenate([values.ravel() for values in parameters])
        self.gradient = np.zeros_like(self.flat)
        self.m = np.zeros_like(self.flat)
        self.v = np.zeros_like(self.flat)
        self.scratch = np.empty_like(self.flat)
        self.steps = 0
        self.layers: list[tuple[Floats, Floats, Floats, Floats]] = []
        at = 0
        for inputs, outputs in itertools.pairwise(sizes):
            weight = slice(at, at + inputs * outputs)
            bias = slice(weight.stop, weight.stop + outputs)
            shape = (outputs, inputs)
            self.layers.append(
                (
                    self.flat[weight].reshape(shape),
                    self.flat[bias],
                    self.gradient[weight].reshape(shape),
                    self.gradient[bias],
                )
            )
            at = bias.stop

    def predict(self, x: Floats) -> Floats:
        """Return the logits, (batch, outputs)."""
        for i, (weight, bias, _, _) in enumerate(self.layers):
            x = x @ weight.T
            x += bias
            if i < len(self.layers) - 1:
                np.maximum(x, 0, out=x)
        return x

    def step(self, x: Floats, y: NDArray[np.int64]) -> float:
        """Take one step of Adam on the mean cross-entropy; return the loss before it."""
        inputs = []
        for i, (weight, bias, _, _) in enumerate(self.layers):
            inputs.append(x)
            x = x @ weight.T
            x += bias
            if i < len(self.layers) - 1:
                np.maximum(x, 0, out=x)
        rows = np.arange(len(y))
        x -= x.max(axis=1, keepdims=True)
        picked = x[rows, y]
        np.exp(x, out=x)
        sums = x.sum(axis=1, keepdims=True)
        loss = float(np.mean(np.log(sums[:, 0]) - picked))
        x /= sums
        x[rows, y] -= 1
        x /= len(y)
        for i in range(len(self.layers) - 1, -1, -1):
            weight, _, dweight, dbias = self.layers[i]
            np.matmul(x.T, inputs[i], out=dweight)
            np.sum(x, axis=0, out=dbias)
            if i:
                x = x @ weight
                x *= inputs[i] > 0
        self._adam()
        return loss

    def _adam(self, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        self.steps += 1
        g, m, v, scratch = self.gradient, self.m, self.v, self.scratch
        m *= beta1
        m += np.multiply(g, 1 - beta1, out=scratch)
        v *= beta2
        np.multiply(g, g, out=scratch)
        v += np.multiply(scratch, 1 - beta2, out=scratch)
        correction = (1 - beta2**self.steps) ** 0.5
        np.sqrt(v, out=scratch)
        scratch += eps * correction
        np.divide(m, scratch, out=scratch)
        scratch *= self.lr * correction / (1 - beta1**self.steps)
        self.flat -= scratch


def interleaved(first: Callable[[], Any], second: Callable[[], Any], seconds: float) -> tuple[float, float]:
    """Return the median time of one call of each, in seconds.

    The two take turns in blocks of some milliseconds, so that what slows the machine meets both.

    Parameters
    ----------
    first, second : function without arguments
    seconds : float
        How long to measure in all, roughly.
    """
    calls = [_calls_in_a_block(first), _calls_in_a_block(second)]
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while len(times[0]) < 5 or time.perf_counter() < end:
        for i, function in enumerate((first, second)):
            start = time.perf_counter()
            for _ in range(calls[i]):
                function()
            times[i].append((time.perf_counter() - start) / calls[i])
    return median(times[0]), median(times[1])


def _calls_in_a_block(function: Callable[[], Any], block: float = 0.005) -> int:
    calls = 1
    while True:
        start = time.perf_counter()
        for _ in range(calls):
            function()
        took = time.perf_counter() - start
        if took >= block or calls >= 1 << 20:
            return calls
        calls *= 2


def add_parser(commands: Any) -> None:
    """Add the command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "bench",
        help="time one training step and one prediction against NumPy",
        description="Time one training step (Adam, cross-entropy) and the prediction of one row against the "
        "same written by hand in NumPy, taking turns; medians.",
    )
    parser.add_argument(
        "--sizes",
        type=options.sizes,
        metavar="64,32,10",
        help="inputs, hidden widths, outputs (default: three nets)",
    )
    parser.add_argument(
        "--batch-size", type=options.count, metavar="N", help="rows in a step (default: by the net)"
    )
    parser.add_argument(
        "--seconds", type=options.positive, default=1.0, metavar="S", help="seconds for each line (default 1)"
    )
    parser.set_defaults(run=run, usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Measure and print a line for each net and task."""
    cases: tuple[tuple[list[int], int], ...] = _CASES
    if args.sizes is not None:
        if len(args.sizes) < 2 or args.sizes[-1] < 2:
            args.usage_error("argument --sizes: expected inputs and at least two outputs, such as 64,10")
        cases = ((args.sizes, args.batch_size or 32),)
    print(
        f"nnrs {_core.__version__} ({_core.isa()}, {_core.get_num_threads()} threads), NumPy {np.__version__}"
    )
    print(f"{'':<36}{'nnrs':>12}{'NumPy':>12}{'ratio':>8}")
    for sizes, batch in cases:
        _case(sizes, args.batch_size or batch, args.seconds)
    return 0


def _case(sizes: list[int], batch: int, seconds: float) -> None:
    x = _core.random_normal(0, "data", 0, 0, (batch, sizes[0]), 0.0, 1.0, "float32")
    y = np.arange(batch) % sizes[-1]
    row = x[:1].copy()
    model = nn.MLP(sizes, seed=0)
    by_hand = ByHand(sizes, [np.array(p.data) for p in model.parameters()])
    trainer = Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()), seed=0)
    losses = trainer.step(x, y), by_hand.step(x, y)
    # Two that compute different things have no ratio. Adam divides by the root of tiny squares, so only the
    # first loss, before rounding has grown, is compared.
    if abs(losses[0] - losses[1]) > 1e-4 * abs(losses[1]):
        raise RuntimeError(f"nnrs and NumPy disagree on the loss of one step: {losses[0]} and {losses[1]}")
    predictor = model.freeze()
    name = "-".join(map(str, sizes))
    for what, first, second in (
        (f"step {name}, batch {batch}", lambda: trainer.step(x, y), lambda: by_hand.step(x, y)),
        (f"one row {name}", lambda: predictor(row), lambda: by_hand.predict(row)),
    ):
        ours, numpys = interleaved(first, second, seconds)
        print(f"{what:<36}{ours * 1e6:>9.1f} µs{numpys * 1e6:>9.1f} µs{numpys / ours:>8.2f}", flush=True)
