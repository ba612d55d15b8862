import io

import pytest

from nnrs import progress
from nnrs.progress import Bar


@pytest.fixture
def out(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    return io.StringIO()


def test_one_line_drawn_over(out):
    bar = Bar(2, 100, out)
    bar.update(50, 0.25)
    bar.end_epoch({"epoch": 1, "loss": 0.2, "val_accuracy": 0.5, "seconds": 1.0})
    bar._last = 0.0
    bar.update(10, 0.1)
    bar.close()
    bar.close()
    parts = out.getvalue().split("\r")
    assert parts[1].startswith("epoch 1/2 |#####-----| loss 0.2500")
    assert parts[2].startswith("epoch 1/2 |##########| loss 0.2000 val_accuracy 0.5000")
    assert parts[3].startswith("epoch 2/2 |#---------| loss 0.2000 val_accuracy 0.5000")
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().endswith("\n")


def test_updates_are_rare(out):
    bar = Bar(1, 1000, out)
    for row in range(1000):
        bar.update(row, 0.5)
    assert out.getvalue().count("\r") < 20


def test_unknown_number_of_rows(out):
    bar = Bar(1, None, out)
    bar.update(640, 0.5)
    assert "640 rows loss 0.5000" in out.getvalue()


def test_lines_fit_the_terminal(out, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    bar = Bar(1, 10, out)
    bar.end_epoch({"epoch": 1, **{f"metric_{n}": 0.5 for n in range(9)}})
    assert max(map(len, out.getvalue().split("\r"))) == 39


def test_wanted_on_a_terminal_only(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(progress.sys, "stderr", io.StringIO())
    assert not Bar.wanted(None)
    assert Bar.wanted(True)
    monkeypatch.setattr(progress.sys, "stderr", Terminal())
    assert Bar.wanted(None)
    assert not Bar.wanted(False)


def test_without_stderr_there_is_no_bar(monkeypatch):
    monkeypatch.setattr(progress.sys, "stderr", None)
    assert not Bar.wanted(None)
