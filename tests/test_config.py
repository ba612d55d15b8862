import threading

import pytest

import nnrs
from nnrs import _core


@pytest.fixture(autouse=True)
def _restored():
    count, mode = nnrs.get_num_threads(), nnrs.get_float32_matmul_precision()
    yield
    nnrs.set_num_threads(count)
    nnrs.set_float32_matmul_precision(mode)


def test_set_and_get_threads():
    nnrs.set_num_threads(3)
    assert nnrs.get_num_threads() == 3
    assert _core.num_threads_source() == "set_num_threads"


def test_threads_nest_and_come_back_after_an_exception():
    nnrs.set_num_threads(4)
    with nnrs.threads(2):
        assert nnrs.get_num_threads() == 2
        seen = []
        with pytest.raises(KeyError), nnrs.threads(1):
            {}[seen.append(nnrs.get_num_threads())]
        assert seen == [1]
        assert nnrs.get_num_threads() == 2
    assert nnrs.get_num_threads() == 4


def test_threads_is_for_the_calling_thread_alone():
    nnrs.set_num_threads(4)
    seen = []
    with nnrs.threads(1):
        worker = threading.Thread(target=lambda: seen.append(nnrs.get_num_threads()))
        worker.start()
        worker.join()
    assert seen == [4]


@pytest.mark.parametrize("call", [nnrs.set_num_threads, nnrs.threads])
def test_thread_counts_are_checked(call):
    for n in (0, -1):
        with pytest.raises(ValueError, match=f"n must be at least 1, got {n}"):
            call(n)
    for n in (1.0, "2", None, True):
        with pytest.raises(TypeError, match="n must be an int"):
            call(n)


def test_precision():
    for mode in ("medium", "high", "highest"):
        nnrs.set_float32_matmul_precision(mode)
        assert nnrs.get_float32_matmul_precision() == mode
    with pytest.raises(ValueError, match="mode must be one of 'highest', 'high', 'medium', got 'low'"):
        nnrs.set_float32_matmul_precision("low")
    assert nnrs.get_float32_matmul_precision() == "highest"


def test_show_config(capsys):
    nnrs.set_num_threads(3)
    found = nnrs.show_config(mode="dicts")
    assert found["nnrs"] == nnrs.__version__
    assert found["isa"] in found["available_isas"]
    assert found["num_threads"] == 3
    assert found["num_threads_source"] == "set_num_threads"
    assert capsys.readouterr().out == ""
    assert nnrs.show_config() is None
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(found)
    assert any(line.split() == ["num_threads", "3"] for line in lines)
    with pytest.raises(ValueError, match="mode must be one of 'stdout', 'dicts', got 'yaml'"):
        nnrs.show_config(mode="yaml")
