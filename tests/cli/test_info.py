from __future__ import annotations

import subprocess
import sys

import numpy as np

import nnrs as package
from nnrs import _core


def test_info_says_what_this_process_found(nnrs):
    result = nnrs("info")
    assert result.code == 0
    lines = dict(line.split(None, 1) for line in result.out.splitlines())
    assert lines["nnrs"] == package.__version__
    assert lines["numpy"] == np.__version__
    assert lines["isa"] == _core.isa()
    assert lines["available_isas"].split(", ") == _core.available_isas()
    assert lines["num_threads"] == str(_core.get_num_threads())
    assert lines["num_threads_source"] == _core.num_threads_source()
    assert "KiB" in lines["cache_sizes"]


def test_info_by_every_name(nnrs):
    for command in (
        ["-m", "nnrs", "info"],
        ["-c", "import sys, nnrs.cli; sys.exit(nnrs.cli.main(['info']))"],
    ):
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("nnrs ")


def test_wrong_usage(nnrs):
    assert nnrs("info", "more").code == 2
