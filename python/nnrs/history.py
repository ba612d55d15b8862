"""What a training run measured, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

__all__ = ["History"]

_SHOWN_ENDS = 10


class History:
    """Results of each epoch of a `Trainer`, over all its calls of `fit`.

    Parameters
    ----------
    seed : int
        The seed of the run: given, or taken from the operating system and recorded here.

    Attributes
    ----------
    epochs : list of dict
        One a finished epoch: `epoch` (from 1), `loss`, training metrics, `val_loss` and validation metrics
        where asked for, `seconds`.
    seed : int

    Examples
    --------
    >>> from nnrs.history import History
    >>> history = History(seed=0)
    >>> history.epochs.append({"epoch": 1, "loss": 0.5, "seconds": 0.01})
    >>> history
    epoch   loss seconds
        1 0.5000   0.010
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.epochs: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self.epochs)

    def names(self) -> list[str]:
        """Return the names of all columns, in order of first appearance, `seconds` last.

        Returns
        -------
        list of str

        Examples
        --------
        >>> from nnrs.history import History
        >>> history = History(seed=0)
        >>> history.epochs.append({"epoch": 1, "seconds": 0.01, "loss": 0.5})
        >>> history.names()
        ['epoch', 'loss', 'seconds']
        """
        seen = dict.fromkeys(name for row in self.epochs for name in row)
        return [name for name in seen if name != "seconds"] + ["seconds"] * ("seconds" in seen)

    def to_dict(self) -> dict[str, list[Any]]:
        """Return one list a column; None where an epoch has no such value.

        Returns
        -------
        dict of list

        Examples
        --------
        >>> from nnrs.history import History
        >>> history = History(seed=0)
        >>> history.epochs += [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
        >>> history.to_dict()
        {'epoch': [1, 2], 'loss': [0.5, 0.25]}
        """
        return {name: [row.get(name) for row in self.epochs] for name in self.names()}

    def to_frame(self) -> pandas.DataFrame:
        """Return a pandas frame, a row an epoch, indexed by `epoch`.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        ImportError
            If pandas is not installed.

        Examples
        --------
        >>> from nnrs.history import History
        >>> history = History(seed=0)
        >>> history.epochs += [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
        >>> history.to_frame()["loss"].tolist()
        [0.5, 0.25]
        """
        try:
            import pandas
        except ImportError:
            raise ImportError("History.to_frame needs pandas: pip install pandas") from None
        frame = pandas.DataFrame(self.epochs, columns=self.names() or ["epoch"])
        return frame.set_index("epoch")

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the losses over the epochs: `nnrs.plot.history(self, ax)`.

        Parameters
        ----------
        ax : matplotlib axes, optional

        Returns
        -------
        matplotlib axes

        Raises
        ------
        ImportError
            If matplotlib is not installed (extra `plot`).

        Examples
        --------
        >>> from nnrs.history import History
        >>> history = History(seed=0)
        >>> history.epochs += [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
        >>> history.plot().get_xlabel()
        'epoch'
        """
        from nnrs import plot

        return plot.history(self, ax=ax)

    def __repr__(self) -> str:
        if not self.epochs:
            return f"History(seed={self.seed}, no epochs yet)"
        names = self.names()
        left_out = len(self.epochs) - 2 * _SHOWN_ENDS
        rows = self.epochs if left_out <= 1 else self.epochs[:_SHOWN_ENDS] + self.epochs[-_SHOWN_ENDS:]
        cells = [[_cell(name, row.get(name)) for name in names] for row in rows]
        widths = [
            max(len(name), *map(len, column))
            for name, column in zip(names, zip(*cells, strict=True), strict=True)
        ]
        lines = [
            " ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
            for row in [names, *cells]
        ]
        if left_out > 1:
            lines.insert(1 + _SHOWN_ENDS, f"… {left_out} epochs …".center(len(lines[0])).rstrip())
        return "\n".join(lines)


def format_value(name: str, value: float) -> str:
    """Return a measured value as a table shows it: four decimals, few digits where it is large or tiny.

    Parameters
    ----------
    name : str
    value : float or int

    Returns
    -------
    str

    Examples
    --------
    >>> from nnrs.history import format_value
    >>> format_value("loss", 0.5), format_value("loss", 1.5e-7), format_value("seconds", 2.0)
    ('0.5000', '1.5e-07', '2.000')
    """
    if isinstance(value, int):
        return str(value)
    if name == "seconds":
        return f"{value:.3f}"
    return f"{value:.4f}" if value == 0 or 5e-4 <= abs(value) < 1e6 else f"{value:.3g}"


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    return format_value(name, value) if isinstance(value, int | float) else str(value)
