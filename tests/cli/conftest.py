from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from nnrs.cli import main


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def nnrs(capsys, tmp_path, monkeypatch):
    """Run the command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def fails(nnrs):
    """Run a command that must end with exit code 1 and one line on stderr; return the line."""

    def run(*arguments: object) -> str:
        result = nnrs(*arguments)
        assert result.code == 1
        assert result.err.count("\n") == 1, result.err
        return result.err

    return run


def flower_rows() -> str:
    """Return a table of two numbers, a category, and a class of three that it takes both numbers to tell."""
    generator = np.random.default_rng(0)
    species = np.repeat(["rose", "lily", "iris"], 40)
    length = generator.normal(size=120) + 4.0 * (species == "rose")
    width = 100 * generator.normal(size=120) + 400.0 * (species == "lily")
    soil = np.where(generator.random(120) < 0.5, "sand", "clay")
    lines = ["length,soil,width,species"]
    lines += map(
        ",".join, zip(map(repr, length.tolist()), soil, map(repr, width.tolist()), species, strict=True)
    )
    return "\n".join(lines) + "\n"


@pytest.fixture
def flowers(tmp_path):
    path = tmp_path / "flowers.csv"
    path.write_text(flower_rows(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained_flowers(tmp_path_factory):
    """The bytes of a model file trained on the flowers."""
    folder = tmp_path_factory.mktemp("flowers")
    (folder / "flowers.csv").write_text(flower_rows(), encoding="utf-8")
    out = folder / "flowers.safetensors"
    assert (
        main(["train", str(folder / "flowers.csv"), "--epochs", "60", "--lr", "0.01", "--out", str(out)]) == 0
    )
    return out.read_bytes()


@pytest.fixture
def houses(tmp_path):
    """A table with a price in the hundred thousands: 3,000 × area, and 50,000 more in the town."""
    generator = np.random.default_rng(1)
    area = generator.uniform(40, 200, 200)
    town = generator.random(200) < 0.5
    price = 3000 * area + 50_000 * town
    path = tmp_path / "houses.csv"
    rows = zip(area, np.where(town, "town", "land"), price, strict=True)
    path.write_text(
        "area,where,price\n" + "".join(f"{a:.3f},{w},{p:.2f}\n" for a, w, p in rows), encoding="utf-8"
    )
    return path
