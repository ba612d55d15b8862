from __future__ import annotations

import csv
import io
import subprocess
import sys

import numpy as np
import pytest

import nnrs as package
from nnrs import _core, nn
from nnrs.cli.encoding import METADATA_KEY


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


@pytest.fixture
def flower_model(trained_flowers, tmp_path):
    (tmp_path / "flowers.safetensors").write_bytes(trained_flowers)
    return "flowers.safetensors"


def test_classes_and_probabilities(nnrs, flowers, flower_model):
    result = nnrs("predict", flower_model, flowers)
    assert result.code == 0, result.err
    header, *body = rows(result.out)
    assert header == ["prediction", "p(iris)", "p(lily)", "p(rose)"]
    assert len(body) == 120
    probabilities = np.array([[float(cell) for cell in row[1:]] for row in body])
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert [row[0] for row in body] == [["iris", "lily", "rose"][i] for i in probabilities.argmax(axis=1)]


def test_accuracy_is_said_where_the_classes_are_there(nnrs, flowers, flower_model):
    result = nnrs("predict", flower_model, flowers)
    true = [line.rpartition(",")[2] for line in flowers.read_text().splitlines()[1:]]
    right = np.mean([row[0] == species for row, species in zip(rows(result.out)[1:], true, strict=True)])
    assert f"accuracy {right:.4f} on 120 rows" in result.err


def test_columns_are_found_by_name(nnrs, flowers, flower_model, tmp_path):
    body = [line.split(",") for line in flowers.read_text().splitlines()[1:]]
    other = tmp_path / "other.csv"
    other.write_text("note,width,length,soil\n" + "".join(f"?,{w},{a},{s}\n" for a, s, w, _ in body))
    as_trained, shuffled = nnrs("predict", flower_model, flowers), nnrs("predict", flower_model, other)
    assert shuffled.code == 0
    assert shuffled.out == as_trained.out
    assert "accuracy" not in shuffled.err


def test_out_writes_the_file_and_shows_the_first_rows(nnrs, flowers, flower_model, tmp_path):
    whole = nnrs("predict", flower_model, flowers).out
    result = nnrs("predict", flower_model, flowers, "--out", "predictions.csv")
    assert result.code == 0
    assert (tmp_path / "predictions.csv").read_text() == whole
    lines = result.out.splitlines()
    assert lines[0].split() == ["prediction", "p(iris)", "p(lily)", "p(rose)"]
    assert "… 110 more rows" in result.out
    assert "wrote 120 rows to predictions.csv" in result.out


def test_regression(nnrs, houses):
    assert nnrs("train", houses, "--epochs", 100, "--lr", 0.01, "--dropout", 0).code == 0
    result = nnrs("predict", "houses.safetensors", houses)
    assert result.code == 0, result.err
    header, *body = rows(result.out)
    assert header == ["prediction"]
    true = np.loadtxt(houses, delimiter=",", skiprows=1, usecols=2)
    assert package.metrics.r2(true, [float(row[0]) for row in body]) >= 0.99


def test_numbered_classes_other_than_0_1_2(nnrs, tmp_path):
    (tmp_path / "data.csv").write_text(
        "a,y\n" + "".join(f"{i % 2 * 10 - 5},{i % 2 * 7 - 3}\n" for i in range(60))
    )
    assert nnrs("train", "data.csv", "--epochs", 30, "--lr", 0.01).code == 0
    result = nnrs("predict", "data.safetensors", "data.csv")
    header, *body = rows(result.out)
    assert header == ["prediction", "p(-3)", "p(4)"]
    assert [row[0] for row in body] == ["-3", "4"] * 30
    assert "accuracy 1.0000 on 60 rows" in result.err


def test_model_saved_in_python_takes_columns_in_their_order(nnrs, tmp_path):
    model = nn.MLP([2, 4, 3], seed=0, task="multiclass").eval()
    model.save("model.safetensors")
    np.savez(tmp_path / "data.npz", b=[1.0, 2.0], a=[3.0, 4.0])
    result = nnrs("predict", "model.safetensors", "data.npz")
    assert result.code == 0, result.err
    assert "taken in their order" in result.err
    expected = model.predict_proba(np.array([[1, 3], [2, 4]], np.float32))
    found = np.array([[float(cell) for cell in row[1:]] for row in rows(result.out)[1:]])
    assert found == pytest.approx(expected, abs=1e-6)


def test_model_without_a_task_gives_its_outputs(nnrs, tmp_path):
    nn.MLP([2, 3], seed=0).save("model.safetensors")
    (tmp_path / "data.csv").write_text("a,b\n0,0\n1,2\n")
    header, *body = rows(nnrs("predict", "model.safetensors", "data.csv").out)
    assert header == ["prediction[0]", "prediction[1]", "prediction[2]"]
    assert len(body) == 2


def test_a_reader_that_stops_early_is_no_error(nnrs, tmp_path):
    nn.MLP([1, 2], seed=0, task="multiclass").save("model.safetensors")
    (tmp_path / "data.csv").write_text("a\n" + "0.5\n" * 50_000)
    command = [sys.executable, "-m", "nnrs", "predict", "model.safetensors", "data.csv"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "prediction,p(0),p(1)\n"
        process.stdout.close()
        assert "Error" not in process.stderr.read()
        assert process.wait(60) == 0


# ---- what is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("length,soil\n1,sand\n", "no column 'width', which the model was trained on"),
        (
            "length,soil,width\n1,sand,2\n1,peat,2\n",
            "row 2 (line 3), column 'soil': 'peat' was not seen in training",
        ),
        ("length,soil,width\n1,sand,2\n,sand,2\n", "row 2 (line 3), column 'length': the cell is empty"),
        (
            "length,soil,width\n1,sand,2\n1,sand,wide\n",
            "row 2 (line 3), column 'width': 'wide' is not a number",
        ),
    ],
)
def test_wrong_table(fails, flower_model, tmp_path, content, message):
    (tmp_path / "data.csv").write_text(content)
    assert message in fails("predict", flower_model, "data.csv")


def test_wrong_number_of_columns(fails, nnrs, tmp_path):
    nn.MLP([2, 3], seed=0).save("model.safetensors")
    (tmp_path / "data.csv").write_text("a,b,c\n0,0,0\n")
    assert "3 columns; model.safetensors takes 2 inputs" in fails("predict", "model.safetensors", "data.csv")


def test_no_such_model(fails, flowers):
    assert "nowhere.safetensors" in fails("predict", "nowhere.safetensors", flowers)


def test_damaged_model(fails, flowers, flower_model, tmp_path):
    path = tmp_path / flower_model
    whole = path.read_bytes()
    for damaged in (b"", b"not a model", whole[:100], whole[:-1], b"\xff" * 8 + whole[8:]):
        path.write_bytes(damaged)
        fails("predict", flower_model, flowers)


@pytest.mark.parametrize("text", ["{", '{"target": "y", "columns": [{"name": "length"}]}'])
def test_model_whose_columns_do_not_fit(fails, flowers, flower_model, text):
    tensors, metadata = _core.load_safetensors(flower_model)
    del metadata["checksum"]
    _core.save_safetensors(flower_model, tensors, {**metadata, METADATA_KEY: text})
    assert METADATA_KEY in fails("predict", flower_model, flowers)


def test_wrong_usage(nnrs):
    assert nnrs("predict", "model.safetensors").code == 2
