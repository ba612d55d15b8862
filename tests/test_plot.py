import subprocess
import sys

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt

import nnrs
from nnrs.history import History


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture
def record():
    made = History(seed=0)
    made.epochs += [
        {"epoch": 1, "loss": 0.5, "accuracy": 0.5, "seconds": 1.0},
        {"epoch": 2, "loss": 0.25, "val_loss": 0.3, "accuracy": 0.75, "seconds": 1.0},
    ]
    return made


def test_history_draws_the_losses(record):
    ax = nnrs.plot.history(record)
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert list(lines) == ["loss", "val_loss"]
    assert lines["loss"].get_xydata().tolist() == [[1, 0.5], [2, 0.25]]
    assert np.isnan(lines["val_loss"].get_ydata()[0])
    assert ax.get_xlabel() == "epoch"


def test_history_draws_into_given_axes(record):
    axes = plt.subplots(1, 2)[1]
    assert record.plot(ax=axes[0]) is axes[0]
    assert nnrs.plot.history(record, ax=axes[1], names=["accuracy"]) is axes[1]
    assert axes[1].get_ylabel() == "accuracy"
    with pytest.raises(ValueError, match="names has 'f1'; expected names among epoch, loss, accuracy"):
        nnrs.plot.history(record, names=["f1"])
    with pytest.raises(ValueError, match="no epochs"):
        nnrs.plot.history(History(seed=0))


def test_images_panel(tmp_path):
    x, y = nnrs.datasets.digits()
    predicted = y[:10].copy()
    predicted[3] = 9
    ax = nnrs.plot.images(x[:10], y[:10], predicted, columns=4)
    inner = ax.child_axes
    assert len(inner) == 10
    assert inner[3].get_title() == "3 → 9"
    assert inner[3].title.get_color() == "tab:red"
    assert inner[2].title.get_color() == "black"
    np.testing.assert_array_equal(inner[5].get_images()[0].get_array(), x[5].reshape(8, 8))
    ax.figure.savefig(tmp_path / "panel.png")
    assert (tmp_path / "panel.png").read_bytes()[:4] == b"\x89PNG"


def test_images_of_other_shapes():
    assert len(nnrs.plot.images(np.zeros((2, 3, 5))).child_axes) == 2
    ax = nnrs.plot.images(np.zeros((2, 15)), shape=(3, 5))
    assert ax.child_axes[0].get_images()[0].get_array().shape == (3, 5)
    own = plt.subplots()[1]
    assert nnrs.plot.images(np.zeros((1, 4)), ax=own) is own
    for images, arguments, message in (
        (np.zeros((2, 15)), {}, "no square"),
        (np.zeros((2, 15)), {"shape": (4, 4)}, "has 16 pixels; expected 15"),
        (np.zeros((0, 16)), {}, "images has shape"),
        (np.zeros(16), {}, "images has shape"),
        (np.zeros((2, 16)), {"y_true": [1]}, r"y_true has shape \(1,\); expected \(2,\)"),
        (np.zeros((2, 16)), {"columns": 0}, "columns must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            nnrs.plot.images(images, **arguments)


def test_confusion_matrix_is_drawn_as_counted(tmp_path):
    true, pred = ["b", "a", "b"], ["b", "b", "b"]
    ax = nnrs.plot.confusion_matrix(true, pred)
    table = nnrs.metrics.confusion_matrix(true, pred)
    np.testing.assert_array_equal(ax.get_images()[0].get_array(), table)
    texts = {tuple(int(v) for v in t.get_position()[::-1]): t.get_text() for t in ax.texts}
    assert texts == {(r, c): str(table[r, c]) for r in range(2) for c in range(2)}
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b"]
    ax = nnrs.plot.confusion_matrix(true, pred, labels=["b", "a"], normalize="true")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["b", "a"]
    assert ax.texts[0].get_text() == "1.00"
    ax.figure.savefig(tmp_path / "table.png")


def test_without_matplotlib_the_extra_is_named(record, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'nnrs\[plot\]'"):
        nnrs.plot.history(record)


def test_matplotlib_is_imported_by_the_first_picture_only():
    program = (
        "import sys, nnrs; nnrs.plot.history, nnrs.metrics, nnrs.data; print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
