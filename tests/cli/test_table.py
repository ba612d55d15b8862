from __future__ import annotations

import time

import numpy as np
import pytest

from nnrs import FileFormatError
from nnrs.cli.encoding import Encoding, Feature
from nnrs.cli.table import DataError, read


@pytest.fixture
def csv(tmp_path):
    """Write a CSV file of these bytes or this text and read it."""

    def make(content: str | bytes, **options):
        path = tmp_path / "data.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read(path, **options)

    return make


def texts(table, name):
    column = table[name]
    return [column.categories[code] for code in column.codes]


# ---- CSV that is fine


def test_numbers_and_texts(csv):
    table = csv("age,city\n31,Paris\n-4.5e1,Rome\n")
    assert table.rows == 2
    assert table.numbers("age").tolist() == [31.0, -45.0]
    assert texts(table, "city") == ["Paris", "Rome"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfa,b\r\n1,x\r\n2,y\r\n",
        b"a,b\n1,x\n2,y",
        b"a,b\n\n1,x\n\n2,y\n\n",
        b'"a","b"\n"1","x"\n"2","y"\n',
        b"a;b\n1;x\n2;y\n",
        b"a\tb\n1\tx\n2\ty\n",
        b" a , b \n 1 , x \n 2 , y \n",
    ],
    ids=["bom and CRLF", "no newline at the end", "blank lines", "quoted", "semicolons", "tabs", "spaces"],
)
def test_forms_of_the_same_table(csv, content):
    table = csv(content)
    assert list(table.columns) == ["a", "b"]
    assert table.numbers("a").tolist() == [1.0, 2.0]
    assert texts(table, "b") == ["x", "y"]


def test_quotes_hold_delimiters_newlines_and_quotes(csv):
    table = csv('a,"b;;;"\n1,"x, y"\n2,"two\nlines"\n3,"say ""hi"""\n')
    assert texts(table, "b;;;") == ["x, y", "two\nlines", 'say "hi"']


def test_header_of_a_frame_without_names(csv):
    assert list(csv("0,1,2\n5,6,7\n").columns) == ["0", "1", "2"]


def test_number_of_underscores_is_a_text(csv):
    assert texts(csv("id,b\n1_0,1\n1_1,2\n"), "id") == ["1_0", "1_1"]


def test_texts_on_request(csv):
    table = csv("a,b\n1,2\n01,3\n", texts={"a"})
    assert texts(table, "a") == ["1", "01"]


def test_a_column_goes_on_over_chunks(csv, monkeypatch):
    monkeypatch.setattr("nnrs.cli.table._CHUNK_ROWS", 3)
    table = csv("a,b\n" + "".join(f"{i},t{i % 4}\n" for i in range(10)))
    assert table.numbers("a").tolist() == list(range(10))
    assert texts(table, "b") == [f"t{i % 4}" for i in range(10)]


def test_many_rows_take_seconds_not_minutes(csv):
    rows = 100_000
    content = "a,b,c,d\n" + "".join(f"{i},{i}.5,{-i},{'xyz'[i % 3]}\n" for i in range(rows))
    start = time.process_time()
    table = csv(content)
    assert time.process_time() - start < 3
    assert table.rows == rows
    assert table.numbers("b")[-1] == rows - 0.5


# ---- CSV that is refused, by place


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"a,b\n", "no rows"),
        (b"a,b,a\n1,2,3\n", "columns 1 and 3 are both called 'a'"),
        (b",b\n1,2\n", "column 1 has no name"),
        (b"5.1,3.5\n4.9,3.0\n", "the first row holds only numbers"),
        (b"a,b\n1,2\n\n3\n", r"row 2 \(line 4\) has 1 cells; expected 2"),
        (b"a,b\n1,2\n3,4,5\n", r"row 2 \(line 3\) has 3 cells; expected 2"),
        (b'a,b\n"1,2\n3,4\n', "not a CSV file"),
        ("a,b\nMünchen,2\n".encode("latin1"), "not UTF-8"),
    ],
)
def test_refused_as_a_whole(csv, content, message):
    with pytest.raises(DataError, match=message):
        csv(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n,3\n", r"row 2 \(line 3\), column 'a': the cell is empty"),
        ("a,b\n1,2\n  ,3\n", r"row 2 \(line 3\), column 'a': the cell is empty"),
        ("a,b\n1,2\n\nn/a,3\n4,4\n", r"row 2 \(line 4\), column 'a': 'n/a' is not a number"),
        ("a,b\nn/a,2\n3,3\n4,4\n", r"row 1 \(line 2\), column 'a': 'n/a' is not a number"),
        ("a,b\n1,2\nnan,3\n", r"row 2 \(line 3\), column 'a': 'nan' is not a finite number"),
        ("a,b\n1,2\n-inf,3\n", r"row 2 \(line 3\), column 'a': '-inf' is not a finite number"),
        ("a,b\nx,2\n7,3\ny,4\n", r"row 2 \(line 3\), column 'a': '7' is a number among texts"),
        ("a,b\nParis,2\nRome,3\n", r"row 1 \(line 2\), column 'a': 'Paris' is not a number"),
    ],
)
def test_refused_by_row_and_column(csv, content, message):
    table = csv(content)
    with pytest.raises(DataError, match=message):
        table.numbers("a")
    assert len(table.numbers("b")) == table.rows  # the flaw of one column is not that of another


def test_flaw_in_a_later_chunk(csv, monkeypatch):
    monkeypatch.setattr("nnrs.cli.table._CHUNK_ROWS", 4)
    table = csv("a\n" + "".join(f"{i}\n" for i in range(9)) + "oops\n10\n")
    with pytest.raises(DataError, match=r"row 10 \(line 11\), column 'a': 'oops' is not a number"):
        table.numbers("a")


def test_unknown_column_names_those_there_are(csv):
    with pytest.raises(DataError, match="no column 'c'; it has 'a', 'b'"):
        csv("a,b\n1,2\n")["c"]


def test_unknown_kind_of_file(tmp_path):
    with pytest.raises(DataError, match=r"expected a file named \.csv"):
        read(tmp_path / "data.xlsx")


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "data.csv")


# ---- NPZ


def test_npz(tmp_path):
    path = tmp_path / "data.npz"
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.savez(
        path, x=np.array([[1, 2], [3, 4]]), images=images, y=np.array(["a", "b"]), ok=np.array([True, False])
    )
    table = read(path)
    assert list(table.columns) == ["x[0]", "x[1]", *(f"images[{i}]" for i in range(12)), "y", "ok"]
    assert table.numbers("x[1]").tolist() == [2.0, 4.0]
    assert table.numbers("images[11]").tolist() == [11.0, 23.0]
    assert table.numbers("ok").tolist() == [1.0, 0.0]
    assert texts(table, "y") == ["a", "b"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "the file is empty"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(2)}, "array 'y' has 2 rows, array 'x' has 3"),
        ({"x": np.float64(3)}, "array 'x' is a single value"),
        ({"x": np.zeros((0, 3))}, "no rows"),
        ({"x": np.zeros(2, complex)}, "array 'x' holds complex128"),
        ({"x": np.array([{}, {}])}, "not an NPZ file of plain arrays"),
        ({"x": np.zeros((2, 1)), "x[0]": np.zeros(2)}, r"both called 'x\[0\]'"),
    ],
)
def test_npz_refused(tmp_path, arrays, message):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=message):
        read(path)


def test_npz_with_a_missing_value(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.array([[1.0, 2.0], [3.0, np.nan]]))
    with pytest.raises(DataError, match=r"row 2, column 'x\[1\]': nan is not a finite number"):
        read(path).numbers("x[1]")


def test_npz_damaged(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.arange(1000.0))
    whole = path.read_bytes()
    for cut in (0, 10, 200, len(whole) - 5):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match="not an NPZ file"):
            read(path)


# ---- Parquet


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "data.parquet"
    columns = {
        "n": [1, 2],
        "f": pa.array([0.5, 1.5], pa.float32()),
        "s": ["a", "b"],
        "c": pa.array(["x", "x"]).dictionary_encode(),
        "t": [True, False],
        "when": pa.array([0, 1], pa.timestamp("ms")),
        "hole": pa.array([1, None]),
    }
    pq.write_table(pa.table(columns), path)
    table = read(path)
    assert table.numbers("n").tolist() == [1.0, 2.0]
    assert table.numbers("f").tolist() == [0.5, 1.5]
    assert table.numbers("t").tolist() == [1.0, 0.0]
    assert texts(table, "s") == ["a", "b"]
    assert texts(table, "c") == ["x", "x"]
    with pytest.raises(DataError, match=r"column 'when': the column holds timestamp\[ms\]"):
        table.numbers("when")
    with pytest.raises(DataError, match="row 2, column 'hole': the cell is empty"):
        table.numbers("hole")


def test_parquet_damaged(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "data.parquet"
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match="not a Parquet file"):
        read(path)


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "data.parquet").touch()
    with pytest.raises(DataError, match=r"pip install 'nnrs\[parquet\]'"):
        read(tmp_path / "data.parquet")


# ---- encoding


def test_encoding_is_one_hot_in_sorted_order(csv):
    table = csv("age,city,y\n31,Rome,0\n42,Paris,1\n53,Rome,1\n")
    encoding = Encoding.fit(table, "y")
    assert encoding.input_names() == ["age", "city=Paris", "city=Rome"]
    x = encoding.transform(table)
    assert x.dtype == np.float32
    assert x.tolist() == [[31, 0, 1], [42, 1, 0], [53, 0, 1]]


def test_encoding_matches_columns_by_name(csv):
    encoding = Encoding.fit(csv("age,city,y\n31,Rome,0\n42,Paris,1\n"), "y")
    shuffled = csv("y,extra,city,age\n0,,Paris,1\n0,,Rome,2\n")
    assert encoding.transform(shuffled).tolist() == [[1, 1, 0], [2, 0, 1]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("city\nParis\n", "no column 'age', which the model was trained on"),
        ("age,city\n1,Paris\n2,Oslo\n", r"row 2 \(line 3\), column 'city': 'Oslo' was not seen in training"),
        ("age,city\n1,Paris\n2,\n", r"row 2 \(line 3\), column 'city': the cell is empty"),
        (
            "age,city\n1,75\n2,76\n",
            "column 'city': the number 75 stands where the model knows the texts 'Paris'",
        ),
        ("age,city\nold,Paris\nnew,Rome\n", r"row 1 \(line 2\), column 'age': 'old' is not a number"),
        (
            "age,city\n1,Paris\n1e39,Rome\n",
            r"row 2 \(line 3\), column 'age': 1e\+39 is too large for float32",
        ),
    ],
)
def test_encoding_refuses(csv, content, message):
    encoding = Encoding((Feature("age"), Feature("city", ("Paris", "Rome"))), "y")
    with pytest.raises(DataError, match=message):
        encoding.transform(csv(content))


def test_encoding_refuses_an_identifier(csv):
    table = csv("name,y\n" + "".join(f"person {i},{i % 2}\n" for i in range(1001)))
    with pytest.raises(DataError, match="column 'name' has 1001 different texts"):
        Encoding.fit(table, "y")


def test_encoding_needs_a_feature(csv):
    with pytest.raises(DataError, match="'y' is the only column"):
        Encoding.fit(csv("y\n1\n2\n"), "y")


def test_encoding_survives_json():
    encoding = Encoding((Feature("age"), Feature("Straße", ("Ä", 'a "b"'))), "y")
    assert Encoding.from_json(encoding.to_json()) == encoding


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"target": "y"}',
        '{"target": 3, "columns": [{"name": "a"}]}',
        '{"target": "y", "columns": []}',
        '{"target": "y", "columns": 3}',
        '{"target": "y", "columns": [{"name": 3}]}',
        '{"target": "y", "columns": ["a"]}',
        '{"target": "y", "columns": [{"name": "a"}, {"name": "a"}]}',
        '{"target": "y", "columns": [{"name": "a", "categories": []}]}',
        '{"target": "y", "columns": [{"name": "a", "categories": "xyz"}]}',
        '{"target": "y", "columns": [{"name": "a", "categories": ["x", "x"]}]}',
        "[" * 100_000,
    ],
)
def test_hostile_metadata(text):
    with pytest.raises(FileFormatError, match="does not describe the columns"):
        Encoding.from_json(text)
