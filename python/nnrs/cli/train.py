"""`nnrs train`: from data to a model file, with what was measured on the way."""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnrs import _core, callbacks, metrics, nn, optim
from nnrs.cli import options, report
from nnrs.cli.encoding import METADATA_KEY
from nnrs.cli.problem import Problem, open_problem
from nnrs.cli.table import DataError
from nnrs.trainer import Trainer

if TYPE_CHECKING:
    from nnrs.history import History

__all__ = ["add_parser"]

Array = NDArray[Any]

_ACTIVATIONS = ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "sigmoid", "tanh")
_MOST_PICTURES = 24
# Rows predicted at a time where only the labels are kept.
_BATCH = 4096


def add_parser(commands: Any) -> None:
    """Add the command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "train",
        help="train a network on a table, the built-in digits or MNIST",
        description="Train a network and save it. The last column, or one called target, label, class or y, "
        "is predicted unless --target names another; columns of texts are one-hot encoded.",
    )
    parser.add_argument(
        "data", help="digits | FILE.csv | FILE.npz | FILE.parquet | a folder with MNIST's files"
    )
    parser.add_argument("--target", metavar="COLUMN", help="the column to predict")
    parser.add_argument(
        "--task", choices=("classification", "regression"), help="default: found from the target, and said"
    )
    parser.add_argument(
        "--hidden",
        type=options.sizes,
        default=[256, 128],
        metavar="W,W",
        help="hidden widths, or none (default 256,128)",
    )
    parser.add_argument(
        "--activation", choices=_ACTIVATIONS, default="relu", help="default relu", metavar="NAME"
    )
    parser.add_argument("--dropout", type=options.fraction, default=0.2, metavar="P", help="default 0.2")
    parser.add_argument(
        "--optimizer",
        choices=("sgd", "adam", "adamw"),
        default="adamw",
        help="sgd has momentum 0.9; default adamw",
    )
    parser.add_argument("--lr", type=options.positive, default=1e-3, metavar="RATE", help="default 0.001")
    parser.add_argument("--epochs", type=options.count, default=30, metavar="N", help="default 30")
    parser.add_argument("--batch-size", type=options.count, default=64, metavar="N", help="default 64")
    parser.add_argument(
        "--validation-split",
        type=options.fraction,
        default=0.1,
        metavar="SHARE",
        help="of the rows; default 0.1",
    )
    parser.add_argument(
        "--patience",
        type=options.count,
        metavar="N",
        help="stop after N epochs without a better validation loss, and keep the best (default: all epochs)",
    )
    parser.add_argument("--seed", type=options.seed, default=0, metavar="N", help="default 0")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: the name of the data + .safetensors"
    )
    parser.add_argument(
        "--plot",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="FILE",
        help="draw loss and accuracy into FILE (default: --out's name + .png); digits are always drawn",
    )
    parser.set_defaults(run=run, usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Train, report, save."""
    if args.patience is not None and args.validation_split == 0:
        args.usage_error("argument --patience: needs --validation-split above 0")
    problem = open_problem(args.data, args.target, args.task)
    out = args.out or Path(problem.name + ".safetensors")
    plot = _plot_path(args, out)
    for path in filter(None, (out, plot)):
        if not path.parent.is_dir():
            raise DataError(f"{path}: there is no folder {str(path.parent)!r}")

    model, trainer = _build(problem, args)
    _announce(problem, model, args)
    history = _fit(trainer, problem, args, train_metrics=plot is not None)
    print(history, end="\n\n")
    if problem.task == "regression":
        _undo_scaling(model, *_target_scale(problem.y))
        _report_regression(problem, history, args)
    else:
        _report_classes(problem, model, history, args)

    model.feature_names_ = problem.encoding.input_names()
    model.save(out, metadata={METADATA_KEY: problem.encoding.to_json()})
    written = [out]
    if plot is not None:
        _draw(plot, problem, model, history)
        written.append(plot)
    if args.data == "digits":
        written.append(_write_holdout(problem, out))
    print("wrote", ", ".join(map(str, written)))
    return 0


def _plot_path(args: argparse.Namespace, out: Path) -> Path | None:
    """Return where to draw; without matplotlib an error if --plot asked for it, else None and a line."""
    if args.plot is None and args.data != "digits":
        return None
    try:
        from matplotlib.figure import Figure
    except ImportError:
        if args.plot is not None:
            raise DataError("--plot needs matplotlib: pip install 'nnrs[plot]'") from None
        print("no plot: it needs matplotlib (pip install 'nnrs[plot]')")
        return None
    path: Path = args.plot if args.plot not in (None, Path()) else out.with_suffix(".png")
    kinds = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in kinds:
        raise DataError(f"--plot {path}: expected a name that ends in one of .{', .'.join(sorted(kinds))}")
    return path


def _write_holdout(problem: Problem, out: Path) -> Path:
    """Write the held-out rows as a CSV file that `nnrs predict` reads."""
    assert problem.test is not None
    path = out.with_name(out.stem + "-holdout.csv")
    x, y = problem.test
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*problem.encoding.input_names(), problem.encoding.target])
        writer.writerows(
            [*map("{:g}".format, row), label] for row, label in zip(x.tolist(), y.tolist(), strict=True)
        )
    return path


def _build(problem: Problem, args: argparse.Namespace) -> tuple[nn.Sequential, Trainer]:
    outputs = len(problem.classes) if problem.task == "classification" else 1
    network = nn.MLP(
        [problem.x.shape[1], *args.hidden, outputs],
        activation=args.activation,
        dropout=args.dropout if args.hidden else 0.0,
        seed=args.seed,
    )
    model = nn.Sequential(nn.Standardize(), network, seed=args.seed) if problem.standardize else network
    parameters = model.parameters()
    optimizer: optim.Optimizer
    if args.optimizer == "sgd":
        optimizer = optim.SGD(parameters, args.lr, momentum=0.9)
    else:
        optimizer = {"adam": optim.Adam, "adamw": optim.AdamW}[args.optimizer](parameters, args.lr)
    loss = nn.CrossEntropyLoss() if problem.task == "classification" else nn.MSELoss()
    return model, Trainer(model, loss, optimizer, seed=args.seed)


def _announce(problem: Problem, model: nn.Sequential, args: argparse.Namespace) -> None:
    sizes = [problem.x.shape[1], *args.hidden, max(1, len(problem.classes))]
    parameters = sum(math.prod(parameter.shape) for parameter in model.parameters())
    classes = ""
    if problem.task == "classification":
        names = ", ".join(map(str, problem.classes[:10].tolist())) + (
            ", …" if len(problem.classes) > 10 else ""
        )
        classes = f", {len(problem.classes)} classes ({names})"
    threads = f"{_core.get_num_threads()} threads ({_core.num_threads_source()})"
    shape = "-".join(map(str, sizes))
    print(
        f"nnrs {_core.__version__}, {_core.isa()}, {threads}",
        problem.source,
        f"task: {problem.task}{classes}: target {problem.encoding.target!r}, {problem.reason}",
        f"model: {shape}, {args.activation}, dropout {args.dropout:g}, {parameters:,} parameters",
        f"training: {args.optimizer}, learning rate {args.lr:g}, batches of {args.batch_size}, at most "
        f"{args.epochs} epochs, {args.validation_split:.0%} of the rows for validation, seed {args.seed}",
        sep="\n",
        flush=True,
    )


def _fit(trainer: Trainer, problem: Problem, args: argparse.Namespace, *, train_metrics: bool) -> History:
    y = problem.y
    if problem.task == "regression":
        mean, scale = _target_scale(y)
        y = (y - mean) / scale
    stop = [callbacks.EarlyStopping(patience=args.patience)] if args.patience is not None else []
    try:
        return trainer.fit(
            problem.x,
            y,
            epochs=args.epochs,
            batch_size=args.batch_size,
            validation_split=args.validation_split,
            metrics=["accuracy" if problem.task == "classification" else "r2"],
            train_metrics=train_metrics,
            callbacks=stop,
        )
    except RuntimeError as error:
        raise DataError(f"training stopped: {error} (a smaller --lr may help)") from None


# A network learns a target of mean 0 and deviation 1 at any learning rate that suits its weights; afterwards
# mean and deviation go into the last layer, so that the saved model answers in the target's own units.


def _target_scale(y: Array) -> tuple[float, float]:
    return float(np.mean(y)), float(np.std(y))


def _undo_scaling(model: nn.Sequential, mean: float, scale: float) -> None:
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    assert last.bias is not None
    last.weight.data = np.asarray(last.weight.data) * scale
    last.bias.data = np.asarray(last.bias.data) * scale + mean


def _best_epoch(history: History, args: argparse.Namespace) -> dict[str, Any]:
    """Return the results of the epoch whose weights the model has."""
    if args.patience is None:
        return history.epochs[-1]
    return min(history.epochs, key=lambda row: row["val_loss"])


def _report_regression(problem: Problem, history: History, args: argparse.Namespace) -> None:
    print(f"losses are in units of the variance of {problem.encoding.target!r}")
    row = _best_epoch(history, args)
    if "val_loss" in row:
        error = math.sqrt(row["val_loss"]) * _target_scale(problem.y)[1]
        print(f"validation: r2 {row['val_r2']:.4f}, root mean squared error {error:.6g}")


def _report_classes(
    problem: Problem, model: nn.Sequential, history: History, args: argparse.Namespace
) -> None:
    if problem.test is None:
        row = _best_epoch(history, args)
        if "val_accuracy" in row:
            print(f"validation accuracy {row['val_accuracy']:.4f}")
        return
    x, y = problem.test
    predicted = model.predict(x, batch_size=_BATCH)
    print(f"test accuracy {metrics.accuracy(y, predicted):.4f} on {len(y)} rows that training did not see")
    counts = metrics.confusion_matrix(y, predicted, labels=problem.classes)
    print(report.confusion(counts, [str(name) for name in problem.classes]))


def _draw(path: Path, problem: Problem, model: nn.Sequential, history: History) -> None:
    """Draw the curves; for pictures also a panel of those taken for another class."""
    from matplotlib.figure import Figure

    from nnrs import plot

    pictures = problem.image is not None and problem.test is not None
    figure: Any = Figure(figsize=(13, 6) if pictures else (10, 4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.2)) if pictures else (figure, None)
    measured = "accuracy" if problem.task == "classification" else "r2"
    axes = left.subplots(2, 1) if pictures else left.subplots(1, 2)
    names = history.names()
    for ax, value in zip(axes, ("loss", measured), strict=True):
        plot.history(history, ax, names=[name for name in (value, f"val_{value}") if name in names])
        ax.set_ylabel(value)
    if right is not None and problem.test is not None:
        x, y = problem.test
        predicted = model.predict(x, batch_size=_BATCH)
        wrong = np.flatnonzero(predicted != y)
        shown = wrong[:_MOST_PICTURES]
        right.suptitle(f"{len(wrong)} of {len(y)} test rows misclassified: true → predicted")
        ax = right.subplots()
        if len(shown):
            columns = math.ceil(math.sqrt(len(shown)))
            plot.images(x[shown], y[shown], predicted[shown], shape=problem.image, columns=columns, ax=ax)
        else:
            ax.set_axis_off()
    figure.savefig(path, dpi=120)
