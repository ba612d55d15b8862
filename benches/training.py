"""Epochs: `fit` beside torch's best loop, its DataLoader and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import nnrs
from nnrs import nn, optim
from nnrs.cli.bench.net import Net, Work
from nnrs.cli.bench.scikit_learn import classifier
from nnrs.cli.bench.torch import Training
from nnrs.cli.bench.worker import Prepared

LEARNING_RATE = 1e-3
# Rows by which the loss is compared before and after an epoch.
COMPARED = 1000


def drawn(net: Net, rows: int, part: int = 0) -> tuple[Any, Any]:
    """Return random rows that a linear rule labels; other ones, by the same rule, for each `part`."""
    inputs, outputs = net.sizes[0], net.sizes[-1]
    x = nnrs._core.random_normal(0, "data", part, 0, (rows, inputs), 0.0, 1.0, "float32")
    rule = nnrs._core.random_normal(1, "data", 0, 0, (inputs, outputs), 0.0, 1.0, "float32")
    scores = x @ rule
    return x, ((scores[:, 0] > 0) if outputs == 1 else scores.argmax(axis=1)).astype(np.int64)


class Data(NamedTuple):
    """Rows to train on: those of a folder with MNIST's files, or random ones that a linear rule labels."""

    rows: int
    net: Net
    folder: str | None = None

    def arrays(self) -> tuple[Any, Any]:
        if self.folder is not None:
            return nnrs.datasets.mnist(self.folder)[:2]
        return drawn(self.net, self.rows)

    def epoch(self) -> tuple[Work, ...]:
        """Return the work of the steps, and that of reading every row once."""
        size = 4.0 * self.rows * self.net.sizes[0]
        return self.net.step().times(self.rows / self.net.batch), Work(0, size, size)


def prepared(epoch: Callable[[], Any], loss: Callable[[], float]) -> Prepared:
    """Return an epoch, checked by the loss of some rows before and after one: shuffles and masks differ."""
    before = loss()
    epoch()
    after = loss()
    losses = np.array([before, after])
    checks = {"loss before training": (losses[:1], 1e-4), "losses before and after an epoch": (losses, 0.1)}
    return Prepared(epoch, checks)


def trainer(net: Net, dropout: float = 0.0) -> nnrs.Trainer:
    """Return Adam over a new model."""
    model = net.model(dropout)
    loss = nn.BCEWithLogitsLoss() if net.binary else nn.CrossEntropyLoss()
    return nnrs.Trainer(model, loss, optim.Adam(model.parameters(), lr=LEARNING_RATE), seed=0)


def targets(net: Net, y: Any) -> Any:
    """Return labels as the loss takes them."""
    return y.astype(np.float32)[:, None] if net.binary else y


def fit(data: Data, dropout: float) -> Prepared:
    x, y = data.arrays()
    y = targets(data.net, y)
    ours = trainer(data.net, dropout)

    def epoch() -> None:
        ours.fit(x, y, epochs=1, batch_size=data.net.batch, progress=False)

    return prepared(epoch, lambda: ours.evaluate(x[:COMPARED], y[:COMPARED])["loss"])


def fit_unchecked(data: Data, dropout: float) -> Prepared:
    """Return an epoch of `fit`, to be timed beside epochs of more rows, after which the loss is another."""
    return Prepared(fit(data, dropout).call)


def steps(data: Data) -> Prepared:
    """Return all steps of an epoch, each a call of its own on rows that lie together."""
    x, y = data.arrays()
    y, size = targets(data.net, y), data.net.batch
    ours = trainer(data.net)
    batches = [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]

    def epoch() -> None:
        step = ours.step
        for xb, yb in batches:
            step(xb, yb)

    return prepared(epoch, lambda: ours.evaluate(x[:COMPARED], y[:COMPARED])["loss"])


def _torch(data: Data, dropout: float) -> tuple[Training, Any, Any, Callable[[], float]]:
    train = Training(data.net, LEARNING_RATE, dropout)
    x, y = data.arrays()
    x, y = train.torch.from_numpy(x), train.targets(y)
    return train, x, y, lambda: float(train.loss(x[:COMPARED], y[:COMPARED]).item())


def torch_loop(data: Data, dropout: float) -> Prepared:
    """Return torch's best loop: tensors in memory, each batch gathered by its numbers."""
    train, x, y, loss = _torch(data, dropout)
    randperm, count, size = train.torch.randperm, len(x), data.net.batch

    def epoch() -> None:
        for rows in randperm(count).split(size):
            train(x.index_select(0, rows), y.index_select(0, rows))

    return prepared(epoch, loss)


def torch_loader(data: Data, dropout: float) -> Prepared:
    """Return torch's usual loop, over a DataLoader in the same process."""
    train, x, y, loss = _torch(data, dropout)
    loading = train.torch.utils.data
    loader = loading.DataLoader(loading.TensorDataset(x, y), batch_size=data.net.batch, shuffle=True)

    def epoch() -> None:
        for xb, yb in loader:
            train(xb, yb)

    return prepared(epoch, loss)


def scikit_learn(data: Data) -> Prepared:
    """Return scikit-learn's own loop: one `partial_fit` over all rows, in batches."""
    x, y = data.arrays()
    found = classifier(data.net, LEARNING_RATE)

    def loss() -> float:
        return nnrs.metrics.log_loss(y[:COMPARED], found.predict_proba(x[:COMPARED]))

    return prepared(lambda: found.partial_fit(x, y), loss)
