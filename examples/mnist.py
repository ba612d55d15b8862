"""Train 784-512-512-10 on the real MNIST, and time the same network in torch beside it.

    python examples/mnist.py PATH [--compare-torch] [--plot mnist.png]

PATH is a folder with MNIST's four files, gzipped or not. ReLU, dropout 0.2, Adam, batches of 128, 12 epochs.
With `--compare-torch` the epochs of both take turns, so that what slows the machine meets both; torch gets
its fused Adam, its tensors are in memory, and it uses as many threads.
"""

from __future__ import annotations

import argparse
import itertools
import time
from statistics import median

import numpy as np

import nnrs
from nnrs import nn, optim

SIZES = [784, 512, 512, 10]
DROPOUT = 0.2
LEARNING_RATE = 1e-3
BATCH = 128


class Ours:
    """The network in nnrs; an epoch is one call into its core."""

    name = "nnrs"

    def __init__(self, x, y, seed: int) -> None:
        self.x, self.y = x, y
        self.model = nn.MLP(SIZES, activation="relu", dropout=DROPOUT, seed=seed)
        self.trainer = nnrs.Trainer(
            self.model,
            nn.CrossEntropyLoss(),
            optim.Adam(self.model.parameters(), lr=LEARNING_RATE),
            seed=seed,
        )

    def epoch(self) -> None:
        """Train on every row once."""
        self.trainer.fit(self.x, self.y, epochs=1, batch_size=BATCH, progress=False)

    def accuracy(self, x, y) -> float:
        """Return the share of rows predicted right."""
        return nnrs.metrics.accuracy(y, self.model.predict(x))


class Torch:
    """The same network in torch, as fast as one writes it: no DataLoader, fused Adam."""

    name = "torch"

    def __init__(self, x, y, seed: int) -> None:
        import torch

        torch.set_num_threads(nnrs.get_num_threads())
        torch.manual_seed(seed)
        self.torch = torch
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        layers: list[torch.nn.Module] = []
        for inputs, outputs in itertools.pairwise(SIZES[:-1]):
            layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU(), torch.nn.Dropout(DROPOUT)]
        self.model = torch.nn.Sequential(*layers, torch.nn.Linear(*SIZES[-2:]))
        self.loss = torch.nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE, fused=True)

    def epoch(self) -> None:
        """Train on every row once."""
        self.model.train()
        for rows in self.torch.randperm(len(self.x)).split(BATCH):
            self.optimizer.zero_grad()
            self.loss(self.model(self.x[rows]), self.y[rows]).backward()
            self.optimizer.step()

    def accuracy(self, x, y) -> float:
        """Return the share of rows predicted right."""
        self.model.eval()
        with self.torch.inference_mode():
            predicted = self.model(self.torch.from_numpy(x)).argmax(1).numpy()
        return float(np.mean(predicted == y))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", help="folder with MNIST's four files")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--compare-torch", action="store_true", help="train the same network in torch, taking turns"
    )
    parser.add_argument(
        "--plot", default="mnist.png", help="where to draw accuracy by epoch (needs matplotlib)"
    )
    args = parser.parse_args()

    x, y, x_test, y_test = nnrs.datasets.mnist(args.path)
    runners = [Ours(x, y, args.seed)]
    if args.compare_torch:
        runners.append(Torch(x, y, args.seed))
    nnrs.show_config()
    print(f"\n{'-'.join(map(str, SIZES))}, ReLU, dropout {DROPOUT}, Adam, batches of {BATCH}, {len(x)} rows")
    print("epoch" + "".join(f"{runner.name + ' accuracy':>17}{'seconds':>9}" for runner in runners))
    seconds: list[list[float]] = [[] for _ in runners]
    accuracies: list[list[float]] = [[] for _ in runners]
    for epoch in range(1, args.epochs + 1):
        line = f"{epoch:5}"
        for i, runner in enumerate(runners):
            start = time.perf_counter()
            runner.epoch()
            seconds[i].append(time.perf_counter() - start)
            accuracies[i].append(runner.accuracy(x_test, y_test))
            line += f"{accuracies[i][-1]:17.4f}{seconds[i][-1]:9.2f}"
        print(line, flush=True)
    for i, runner in enumerate(runners):
        took = median(seconds[i])
        print(f"{runner.name}: test accuracy {accuracies[i][-1]:.4f}, {took:.2f} s an epoch (median)")
    if len(runners) == 2:
        ratios = [theirs / ours for ours, theirs in zip(*seconds, strict=True)]
        print(
            f"torch's epoch takes {median(ratios):.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    draw(args.plot, [runner.name for runner in runners], accuracies, seconds)


def draw(path: str, names: list[str], accuracies: list[list[float]], seconds: list[list[float]]) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no plot: it needs matplotlib (pip install 'nnrs[plot]')")
        return
    figure = Figure(figsize=(10, 4), layout="constrained")
    for ax, values, label in zip(
        figure.subplots(1, 2), (accuracies, seconds), ("test accuracy", "seconds an epoch"), strict=True
    ):
        for name, line in zip(names, values, strict=True):
            ax.plot(range(1, len(line) + 1), line, marker=".", label=name)
        ax.set_xlabel("epoch")
        ax.set_ylabel(label)
        ax.grid(alpha=0.3)
        ax.legend()
    figure.axes[1].set_ylim(bottom=0)
    figure.savefig(path, dpi=120)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
