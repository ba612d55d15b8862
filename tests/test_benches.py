"""`python -m benches`: what it lists, prints and writes, on a few of its quickest rows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*arguments: str, module: str = "benches") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def test_list_names_every_row_once() -> None:
    names = run("--list").stdout.splitlines()
    assert len(names) == len(set(names))
    groups = {name.split(":")[0] for name in names}
    assert {"training step", "prediction", "epoch", "F"} <= groups


def test_an_unknown_row_is_said_to_be_unknown() -> None:
    done = run("--only", "no such row")
    assert done.returncode == 2
    assert "--list" in done.stdout


@pytest.mark.parametrize("row", ["F: activation: tanh 1,000", "F: linear: linear 32 × 64 × 32"])
def test_a_row_has_a_floor_a_ratio_and_every_round(row: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    only = ("--only", f"^{re.escape(row)}$", "--rounds", "3", "--threads", "1")
    done = run(*only, "--json", str(report), "--markdown")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(report.read_text())["rows"]
    assert f"{found['group']}: {found['name']}" == row
    others = {name: times["median"] for name, times in found["contestants"].items()}
    own = others.pop("nnrs")
    assert "NumPy" in others
    for times in found["contestants"].values():
        assert len(times["rounds"]) == 3
        assert 0 < times["p10"] <= times["median"] == sorted(times["rounds"])[1] <= times["p90"]
    assert found["fastest_other"] == min(others, key=others.__getitem__)
    assert found["ratio"] == pytest.approx(min(others.values()) / own)
    assert 0 < found["floor"] < own
    assert f"| {found['name']} | 1 |" in done.stdout


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs system linux, which tells a process's own memory"
)
def test_a_mapped_file_is_learned_without_being_kept(tmp_path: Path) -> None:
    size = ("--gigabytes", "0.2", "--epochs", "1", "--threads", "1", "--file-only")
    done = run(*size, "--folder", str(tmp_path), module="benches.memory")
    assert done.returncode == 0, done.stderr
    found = dict(line.split(": ") for line in done.stdout.splitlines())
    assert found["file"].startswith("1,666,666 rows")
    assert int(found["share of the speed in memory"].split()[0]) > 0
    assert 0 < int(found["added to the process's own memory"].split()[0]) < 100
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = run("--folder", str(tmp_path / "none"), module="benches.memory")
    assert done.returncode == 2
    assert "no such folder" in done.stderr
