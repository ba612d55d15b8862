import sys

import pandas as pd
import pytest

from nnrs.history import History, format_value


@pytest.fixture
def record():
    made = History(seed=5)
    made.epochs.append({"epoch": 1, "loss": 0.75, "seconds": 0.01})
    made.epochs.append({"epoch": 2, "loss": 0.5, "val_loss": 1e-6, "val_accuracy": 0.25, "seconds": 12.5})
    return made


def test_columns_keep_their_order_and_gaps(record):
    assert len(record) == 2
    assert record.to_dict() == {
        "epoch": [1, 2],
        "loss": [0.75, 0.5],
        "val_loss": [None, 1e-6],
        "val_accuracy": [None, 0.25],
        "seconds": [0.01, 12.5],
    }


def test_frame(record):
    frame = record.to_frame()
    assert list(frame.columns) == ["loss", "val_loss", "val_accuracy", "seconds"]
    assert list(frame.index) == [1, 2]
    assert frame["loss"].tolist() == [0.75, 0.5]
    assert pd.isna(frame["val_loss"].iloc[0])
    assert len(History(seed=0).to_frame()) == 0


def test_frame_without_pandas(record, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        record.to_frame()


def test_table(record):
    assert repr(record).splitlines() == [
        "epoch   loss val_loss val_accuracy seconds",
        "    1 0.7500                         0.010",
        "    2 0.5000    1e-06       0.2500  12.500",
    ]
    assert repr(History(seed=3)) == "History(seed=3, no epochs yet)"


def test_long_tables_leave_out_the_middle():
    record = History(seed=0)
    record.epochs += [{"epoch": n, "loss": 1 / n} for n in range(1, 101)]
    lines = repr(record).splitlines()
    assert len(lines) == 22
    assert lines[11].strip() == "… 80 epochs …"
    assert lines[-1].split()[0] == "100"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (0.12345, "0.1235"),
        (12345.678, "12345.6780"),
        (3e-5, "3e-05"),
        (1e9, "1e+09"),
        (7, "7"),
        (float("nan"), "nan"),
    ],
)
def test_numbers(value, text):
    assert format_value("loss", value) == text
