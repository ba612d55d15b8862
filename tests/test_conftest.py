from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = "pytester"


@pytest.fixture
def run(pytester: pytest.Pytester):
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text(encoding="utf-8"))

    def run(body: str) -> dict[str, int]:
        pytester.makepyfile(f"import pytest, sys\n{body}")
        return pytester.runpytest_subprocess("-p", "no:cacheprovider").parseoutcomes()

    return run


def test_skip_of_what_is_missing_is_a_skip(run):
    outcomes = run(
        """
@pytest.mark.skipif(True, reason="needs module no_such_module")
def test_mark(): pass

def test_call(): pytest.skip("needs program no-such-program")

def test_import(): pytest.importorskip("no_such_module")
"""
    )
    assert outcomes == {"skipped": 3}


def test_skip_of_what_is_there_is_a_failure(run):
    outcomes = run(
        """
@pytest.mark.skipif(True, reason="needs module json")
def test_mark(): pass

def test_call(): pytest.skip("needs cores 1")

def test_system(): pytest.skip(f"needs system {sys.platform}")
"""
    )
    assert outcomes == {"failed": 2, "errors": 1}


def test_skip_for_another_reason_is_a_failure(run):
    outcomes = run('def test_call(): pytest.skip("slow today")')
    assert outcomes == {"failed": 1}


def test_skip_of_a_whole_module_is_judged_too(run):
    outcomes = run('pytest.skip("needs module json", allow_module_level=True)')
    assert outcomes == {"errors": 1}
