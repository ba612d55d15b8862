from __future__ import annotations

import gzip
import re
import subprocess
import sys

import numpy as np
import pytest

import nnrs as package
from nnrs import _core
from nnrs.cli import main
from nnrs.cli.encoding import METADATA_KEY
from nnrs.cli.problem import open_problem

QUICK = ("--epochs", 2, "--hidden", "8")


def number(pattern: str, text: str) -> float:
    found = re.search(pattern + r"\s+([-+.\de]+)", text)
    assert found is not None, text
    return float(found[1])


# ---- digits


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The demo's run: every default, once for the module."""
    folder = tmp_path_factory.mktemp("digits")
    done = subprocess.run(
        [sys.executable, "-m", "nnrs", "train", "digits"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return folder, done


def test_digits_are_learnt(digits):
    _, done = digits
    assert done.returncode == 0, done.stderr
    assert number("test accuracy", done.stdout) >= 0.97


def test_digits_say_what_was_done(digits):
    _, done = digits
    assert _core.isa() in done.stdout
    assert f"{_core.get_num_threads()} threads" in done.stdout
    assert "task: classification, 10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)" in done.stdout
    assert re.search(r"^ *epoch +loss", done.stdout, re.MULTILINE)
    assert re.search(r"^ *30 ", done.stdout, re.MULTILINE)


def test_digits_confusion_matrix_counts_every_held_out_row(digits):
    _, done = digits
    lines = done.stdout.partition("confusion matrix")[2].splitlines()[2:12]
    counts = np.array([[int(cell) for cell in line.split()[1:]] for line in lines])
    assert counts.shape == (10, 10)
    assert counts.sum() == 360
    assert np.trace(counts) / 360 == pytest.approx(number("test accuracy", done.stdout), abs=1e-4)


def test_digits_write_model_picture_and_held_out_rows(digits):
    folder, _ = digits
    assert sorted(path.name for path in folder.iterdir()) == [
        "digits-holdout.csv",
        "digits.png",
        "digits.safetensors",
    ]
    assert (folder / "digits.png").read_bytes().startswith(b"\x89PNG")
    held_out = np.loadtxt(folder / "digits-holdout.csv", delimiter=",", skiprows=1)
    assert held_out.shape == (360, 65)
    assert np.bincount(held_out[:, -1].astype(int)).min() >= 34  # stratified
    x, _ = package.datasets.digits()
    rows = {row.tobytes() for row in x}
    assert all(row.tobytes() in rows for row in held_out[:, :-1].astype(np.float32))  # to the last bit


def test_the_model_alone_reaches_that_accuracy(digits):
    folder, done = digits
    model = package.load(folder / "digits.safetensors")
    held_out = np.loadtxt(folder / "digits-holdout.csv", delimiter=",", skiprows=1)
    right = model.predict(held_out[:, :-1].astype(np.float32)) == held_out[:, -1]
    assert right.mean() == pytest.approx(number("test accuracy", done.stdout), abs=1e-4)


def test_digits_without_matplotlib(nnrs, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = nnrs("train", "digits", *QUICK)
    assert result.code == 0
    assert "pip install 'nnrs[plot]'" in result.out
    assert not (tmp_path / "digits.png").exists()


# ---- tables


def test_string_classes(nnrs, flowers):
    result = nnrs("train", flowers, "--epochs", 60, "--lr", 0.01)
    assert result.code == 0, result.err
    assert (
        "task: classification, 3 classes (iris, lily, rose): target 'species', it holds texts" in result.out
    )
    assert "1 of texts one-hot encoded into 4 inputs" in result.out
    assert number("validation accuracy", result.out) >= 0.8
    model = package.load("flowers.safetensors")
    assert model.classes_.tolist() == ["iris", "lily", "rose"]
    assert list(model.feature_names_) == ["length", "soil=clay", "soil=sand", "width"]


def test_encoding_travels_in_the_model_file(nnrs, flowers):
    nnrs("train", flowers, *QUICK)
    _, metadata = _core.load_safetensors("flowers.safetensors")
    assert '"categories": ["clay", "sand"]' in metadata[METADATA_KEY]
    assert '"target": "species"' in metadata[METADATA_KEY]


def test_regression_answers_in_the_units_of_the_target(nnrs, houses):
    result = nnrs("train", houses, "--epochs", 100, "--lr", 0.01, "--dropout", 0)
    assert result.code == 0, result.err
    assert "task: regression: target 'price', it holds 200 different numbers" in result.out
    assert number("r2", result.out) >= 0.99
    error = number("root mean squared error", result.out)
    problem = open_problem(str(houses), None, None)
    predicted = package.load("houses.safetensors").predict(problem.x)
    assert predicted.shape == (200,)
    assert np.sqrt(np.mean((predicted - problem.y) ** 2)) <= 3 * error + 1000
    assert 50_000 <= predicted.min() <= predicted.max() <= 800_000


def test_npz_and_parquet_train_alike(nnrs, tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    a = np.linspace(-1, 1, 60)
    y = (a > 0).astype(np.int64)
    np.savez(tmp_path / "line.npz", a=a, y=y)
    pq.write_table(pa.table({"a": a, "y": y}), tmp_path / "line.parquet")
    (tmp_path / "line.csv").write_text(
        "a,y\n" + "".join(f"{u!r},{v}\n" for u, v in zip(a.tolist(), y, strict=True))
    )
    states = []
    for kind in ("npz", "parquet", "csv"):
        result = nnrs("train", f"line.{kind}", *QUICK, "--out", f"{kind}.safetensors")
        assert result.code == 0, result.err
        states.append(_core.load_safetensors(f"{kind}.safetensors"))
    for tensors, metadata in states[1:]:
        assert metadata[METADATA_KEY] == states[0][1][METADATA_KEY]
        assert all(np.array_equal(tensors[name], states[0][0][name]) for name in states[0][0])


def test_mnist_folder(nnrs, tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for part, rows in (("train", 200), ("t10k", 50)):
        labels = generator.integers(0, 10, rows).astype(np.uint8)
        images = np.zeros((rows, 28, 28), np.uint8)
        images[np.arange(rows), labels * 2] = 255
        head = rows.to_bytes(4, "big")
        with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb") as file:
            file.write(bytes([0, 0, 8, 3]) + head + bytes([0, 0, 0, 28]) * 2 + images.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + head + labels.tobytes())
    result = nnrs("train", folder, "--epochs", 15, "--batch-size", 16, "--plot")
    assert result.code == 0, result.err
    assert "200 rows to train on, 50 to test on" in result.out
    assert number("test accuracy", result.out) >= 0.9
    assert (tmp_path / "mnist.png").exists()


def test_plot_of_a_table(nnrs, flowers, houses, tmp_path):
    assert nnrs("train", flowers, *QUICK, "--plot", "curves.svg").code == 0
    assert "<svg" in (tmp_path / "curves.svg").read_text(encoding="utf-8")
    assert nnrs("train", houses, *QUICK, "--plot").code == 0
    assert (tmp_path / "houses.png").exists()


# ---- options


def test_same_seed_same_file(nnrs, flowers, tmp_path):
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        nnrs("train", flowers, *QUICK, "--seed", seed, "--out", f"{name}.safetensors")
    a, b, c = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_optimisers_and_activations(nnrs, flowers, optimizer, activation):
    result = nnrs(
        *("train", flowers, "--epochs", 30, "--hidden", "16,8", "--lr", 0.01),
        *("--optimizer", optimizer, "--activation", activation),
    )
    assert result.code == 0, result.err
    assert f"model: 4-16-8-3, {activation}" in result.out
    assert number("validation accuracy", result.out) >= 0.6


def test_no_hidden_layer(nnrs, flowers):
    result = nnrs("train", flowers, "--hidden", "none", "--epochs", 2)
    assert result.code == 0, result.err
    assert "model: 4-3" in result.out


def test_patience_stops_early_and_keeps_the_best(nnrs, flowers):
    result = nnrs("train", flowers, "--epochs", 500, "--lr", 0.05, "--patience", 3)
    assert result.code == 0, result.err
    epochs = [int(line.split()[0]) for line in result.out.splitlines() if re.match(r" *\d+ +\d+\.\d", line)]
    assert epochs[-1] < 500


def test_no_validation(nnrs, flowers):
    result = nnrs("train", flowers, *QUICK, "--validation-split", 0)
    assert result.code == 0, result.err
    assert "val_loss" not in result.out


def test_target_by_option_by_usual_name_and_by_place(nnrs, tmp_path):
    rows = "".join(f"{i % 2},{i},{i % 3}\n" for i in range(30))
    (tmp_path / "data.csv").write_text("label,a,b\n" + rows)
    assert "target 'label' (by its name" in nnrs("train", "data.csv", *QUICK).out
    assert "target 'b'" in nnrs("train", "data.csv", *QUICK, "--target", "b").out
    (tmp_path / "data.csv").write_text("c,a,b\n" + rows)
    assert "target 'b' (the last column" in nnrs("train", "data.csv", *QUICK).out


@pytest.mark.parametrize(
    ("values", "task", "found"),
    [
        (range(40), None, "task: regression: target 'y', it holds 40 different numbers"),
        ([0, 1, 2, 3] * 10, None, "task: classification, 4 classes (0, 1, 2, 3)"),
        ([-1, 1] * 20, None, "task: classification, 2 classes (-1, 1)"),
        ([0.5, 1.5] * 20, None, "task: regression: target 'y', it holds 2 different numbers"),
        ([0.5, 1.5] * 20, "classification", "task: classification, 2 classes (0.5, 1.5)"),
        ([0, 1, 2, 3] * 10, "regression", "task: regression: target 'y', asked for by --task"),
        (["1", "2", "3+", "2"] * 10, "classification", "task: classification, 3 classes (1, 2, 3+)"),
    ],
)
def test_task_is_found_and_said(nnrs, tmp_path, values, task, found):
    (tmp_path / "data.csv").write_text("a,y\n" + "".join(f"{i},{v}\n" for i, v in enumerate(values)))
    result = nnrs("train", "data.csv", *QUICK, *(["--task", task] if task else []))
    assert result.code == 0, result.err
    assert found in result.out


# ---- exit code 1: the data or a file


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a,y\n1,0\n,1\n", (), "row 2 (line 3), column 'a': the cell is empty"),
        ("a,y\n1,0\n2,\n", (), "row 2 (line 3), column 'y': the cell is empty"),
        ("a,y\n1,0\nx,1\n3,0\n", (), "row 2 (line 3), column 'a': 'x' is not a number"),
        ("a,y\n1,0\n2,1\n3,x\n", (), "row 3 (line 4), column 'y': 'x' is not a number"),
        ("a,y\n1,p\n2,q\n", ("--task", "regression"), "'p' is not a number, which regression needs"),
        ("a,y\n1,0\n2,0\n", (), "target 'y' is '0' in every row"),
        ("a,y\n1,0.5\n2,0.5\n", (), "target 'y' is 0.5 in every row"),
        ("a,y\n1,p\n2,q\n3,r\n4,s\n", (), "target 'y' has 4 classes in 4 rows"),
        ("a,y\n1,0\n2,1\n", ("--target", "z"), "no column 'z'; it has 'a', 'y'"),
        ("y\n1\n2\n1\n2\n", (), "'y' is the only column"),
        ("a,y\n1,0\n2,1,3\n", (), "row 2 (line 3) has 3 cells; expected 2"),
        ("", (), "the file is empty"),
    ],
)
def test_wrong_data(fails, tmp_path, content, options, message):
    (tmp_path / "data.csv").write_text(content)
    assert message in fails("train", "data.csv", *QUICK, *options)
    assert not (tmp_path / "data.safetensors").exists()


def test_no_such_file(fails):
    assert "nowhere.csv: No such file or directory" in fails("train", "nowhere.csv")


def test_folder_without_mnist(fails, tmp_path):
    assert "train-images" in fails("train", tmp_path)


def test_no_folder_for_the_model(fails, flowers):
    assert "there is no folder 'nowhere'" in fails("train", flowers, "--out", "nowhere/model.safetensors")


def test_plot_without_matplotlib(fails, flowers, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "pip install 'nnrs[plot]'" in fails("train", flowers, *QUICK, "--plot")


def test_plot_of_an_unknown_kind_is_refused_before_training(fails, flowers, tmp_path):
    assert ".png" in fails("train", flowers, *QUICK, "--plot", "curves.xyz")
    assert not (tmp_path / "flowers.safetensors").exists()


def test_loss_that_overflows(fails, houses):
    message = fails("train", houses, "--optimizer", "sgd", "--lr", 1e30, "--epochs", 5)
    assert "training stopped" in message
    assert "--lr" in message


# ---- exit code 2: usage


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["train"],
        ["train", "digits", "--hidden", "0"],
        ["train", "digits", "--hidden", "64,x"],
        ["train", "digits", "--dropout", "1"],
        ["train", "digits", "--lr", "-1"],
        ["train", "digits", "--lr", "nan"],
        ["train", "digits", "--epochs", "0"],
        ["train", "digits", "--batch-size", "1.5"],
        ["train", "digits", "--activation", "cosine"],
        ["train", "digits", "--optimizer", "magic"],
        ["train", "digits", "--task", "poetry"],
        ["train", "digits", "--seed", "-1"],
        ["train", "digits", "--validation-split", "1"],
        ["train", "digits", "--patience", "3", "--validation-split", "0"],
        ["train", "digits", "--no-such-option"],
    ],
)
def test_wrong_usage(nnrs, arguments):
    result = nnrs(*arguments)
    assert result.code == 2
    assert result.err.startswith("usage: nnrs")


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]])
def test_help_is_no_error(nnrs, arguments):
    result = nnrs(*arguments)
    assert result.code == 0
    assert "nnrs" in result.out


def test_interrupted(nnrs, flowers, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("nnrs.trainer.Trainer.fit", interrupt)
    result = nnrs("train", flowers)
    assert result.code == 130
    assert result.err == "nnrs: interrupted\n"


def test_main_takes_the_arguments_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["nnrs", "--version"])
    assert main() == 0
    assert capsys.readouterr().out.split() == ["nnrs", package.__version__]
