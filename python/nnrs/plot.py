"""Pictures of a run and of what a model gets wrong (extra `plot`: matplotlib).

Each function draws into the axes it is given, or into a new figure, and returns the axes; nothing is shown or
saved. `axes.figure.savefig("name.png")` writes a file.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnrs import metrics
from nnrs.arguments import check_int

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from nnrs.history import History

__all__ = ["confusion_matrix", "history", "images"]


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError("nnrs.plot needs matplotlib: pip install 'nnrs[plot]'") from None
    return pyplot


def _axes(ax: Axes | None) -> Axes:
    return _pyplot().subplots(layout="constrained")[1] if ax is None else ax


def history(history: History, ax: Axes | None = None, *, names: Sequence[str] | None = None) -> Axes:
    """Draw measured values over the epochs.

    Parameters
    ----------
    history : History
    ax : matplotlib axes, optional
    names : list of str, optional
        Which values; the losses without it.

    Returns
    -------
    matplotlib axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the history has no epoch, or a name is not in it.

    Examples
    --------
    >>> import nnrs
    >>> from nnrs.history import History
    >>> record = History(seed=0)
    >>> record.epochs += [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
    >>> nnrs.plot.history(record).get_xlabel()
    'epoch'
    """
    columns = history.to_dict()
    if not columns:
        raise ValueError("history has no epochs; expected at least one")
    if names is None:
        names = [name for name in columns if name in ("loss", "val_loss")]
    for name in names:
        if name not in columns:
            raise ValueError(f"names has {name!r}; expected names among {', '.join(columns)}")
    ax = _axes(ax)
    for name in names:
        values = [math.nan if value is None else value for value in columns[name]]
        ax.plot(columns["epoch"], values, marker="." if len(values) < 30 else "", label=name)
    ax.set_xlabel("epoch")
    if len(names) == 1:
        ax.set_ylabel(names[0])
    else:
        ax.legend()
    ax.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    ax.grid(alpha=0.3)
    return ax


def images(
    images: ArrayLike,
    y_true: ArrayLike | None = None,
    y_pred: ArrayLike | None = None,
    *,
    shape: tuple[int, int] | None = None,
    columns: int = 8,
    ax: Axes | None = None,
) -> Axes:
    """Draw a panel of grey images, each with its label.

    Parameters
    ----------
    images : (n, height, width), or (n, height·width) with `shape`, or of square images
    y_true : (n,), optional
        Shown above each image.
    y_pred : (n,), optional
        Shown beside it, in red where it is wrong.
    shape : (height, width), optional
    columns : int
        Images in a row of the panel.
    ax : matplotlib axes, optional
        Its place is divided into the panel's axes.

    Returns
    -------
    matplotlib axes
        The outer axes; those of the images are its `child_axes`.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are no images, or shapes and numbers of labels do not fit.

    Examples
    --------
    >>> import nnrs
    >>> x, y = nnrs.datasets.digits()
    >>> len(nnrs.plot.images(x[:6], y[:6], columns=3).child_axes)
    6
    """
    pictures = _pictures(np.asarray(images), shape)
    check_int("columns", columns, 1)
    labels: list[NDArray[Any] | None] = []
    for name, given in (("y_true", y_true), ("y_pred", y_pred)):
        label = None if given is None else np.asarray(given)
        if label is not None and label.shape != (len(pictures),):
            raise ValueError(
                f"{name} has shape {label.shape}; expected ({len(pictures)},), one label an image"
            )
        labels.append(label)
    true, pred = labels
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    if ax is None:
        ax = _pyplot().subplots(figsize=(1.1 * columns, 1.35 * rows))[1]
    ax.set_axis_off()
    low, high = float(pictures.min()), float(pictures.max())
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        inner = ax.inset_axes(
            ((column + 0.05) / columns, 1 - (row + 0.95) / rows, 0.9 / columns, 0.75 / rows)
        )
        inner.imshow(picture, cmap="gray_r", vmin=low, vmax=high)
        inner.set_xticks([])
        inner.set_yticks([])
        words = [str(label[place]) for label in (true, pred) if label is not None]
        wrong = true is not None and pred is not None and true[place] != pred[place]
        inner.set_title(" → ".join(words), fontsize=8, pad=2, color="tab:red" if wrong else "black")
    return ax


def _pictures(images: NDArray[Any], shape: tuple[int, int] | None) -> NDArray[Any]:
    if images.ndim not in (2, 3) or not images.size:
        raise ValueError(
            f"images has shape {images.shape}; expected (n, height, width) or (n, height·width), n ≥ 1"
        )
    if images.ndim == 3 and shape is None:
        return images
    pixels = int(np.prod(images.shape[1:]))
    if shape is None:
        side = math.isqrt(pixels)
        if side * side != pixels:
            raise ValueError(
                f"images has {pixels} pixels each, no square; expected shape=(height, width) as well"
            )
        shape = (side, side)
    if shape[0] * shape[1] != pixels:
        raise ValueError(
            f"shape={shape} has {shape[0] * shape[1]} pixels; expected {pixels}, the pixels of an image"
        )
    return images.reshape(-1, *shape)


def confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    normalize: str | None = None,
    sample_weight: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how often each true label got each predicted one.

    Parameters
    ----------
    y_true, y_pred : (n,) labels
    labels, normalize, sample_weight
        As in `nnrs.metrics.confusion_matrix`.
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        As `nnrs.metrics.confusion_matrix`.

    Examples
    --------
    >>> import nnrs
    >>> nnrs.plot.confusion_matrix([0, 1, 1], [0, 1, 0]).get_xlabel()
    'predicted'
    """
    table = metrics.confusion_matrix(
        y_true, y_pred, labels=labels, normalize=normalize, sample_weight=sample_weight
    )
    names = (
        np.unique(np.concatenate([np.ravel(y_true), np.ravel(y_pred)]))
        if labels is None
        else np.asarray(labels)
    )
    ax = _axes(ax)
    ax.imshow(table, cmap="Blues", vmin=0)
    dark = table.max() / 2
    for row, column in np.ndindex(*table.shape):
        value = table[row, column]
        text = str(value) if table.dtype.kind == "i" else f"{value:.2f}"
        ax.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=8,
            color="white" if value > dark else "black",
        )
    places = np.arange(len(names))
    ax.set_xticks(places, [str(name) for name in names])
    ax.set_yticks(places, [str(name) for name in names])
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    return ax
