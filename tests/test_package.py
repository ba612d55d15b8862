"""The package as a whole: what importing it costs, what it weighs, and that its examples run."""

from __future__ import annotations

import doctest
import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nnrs

ROOT = Path(__file__).parents[1]

# What the examples of these modules need beyond NumPy.
EXTRAS = {
    "nnrs.history": ["matplotlib", "pandas"],
    "nnrs.plot": ["matplotlib"],
    "nnrs.onnx": ["onnx"],
    "nnrs.torch": ["torch"],
}
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(nnrs.__path__, "nnrs.")
    if module.name not in ("nnrs._core", "nnrs.__main__")
)


def needs(name: str) -> list[str]:
    """Return what a module needs beyond NumPy."""
    return EXTRAS.get(name if name in EXTRAS else name.rpartition(".")[0], [])


def python(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_version_is_one():
    manifest = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"', manifest, re.MULTILINE)
    assert version is not None
    assert nnrs.__version__ == version[1]
    assert importlib.metadata.version("nnrs") == version[1]


def test_import_costs_little_more_than_numpy():
    code = "import numpy, time; t = time.perf_counter(); import nnrs; print(time.perf_counter() - t)"
    best = min(float(python(code)) for _ in range(7))
    assert best <= 0.025, f"import nnrs takes {best * 1e3:.1f} ms more than import numpy"


def test_import_starts_no_thread():
    if not sys.platform.startswith("linux"):
        pytest.skip("needs system linux")
    code = (
        "import os, numpy; count = lambda: len(os.listdir('/proc/self/task')); before = count()\n"
        "import nnrs; nnrs.nn, nnrs.optim, nnrs.Trainer, nnrs.load; print(count() - before)"
    )
    assert python(code) == "0"


def test_base_package_imports_numpy_alone():
    code = """
import sys, numpy
before = set(sys.modules)
import nnrs
for name in nnrs.__all__:
    if name not in ("plot", "onnx", "torch"):
        getattr(nnrs, name)
import nnrs.cli
tops = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(tops - sys.stdlib_module_names - {"nnrs", "numpy"}))
"""
    assert python(code) == ""


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("plot", "matplotlib", "plot"),
        ("onnx", "onnx", "onnx"),
        ("torch", "torch", "torch"),
    ],
)
def test_a_missing_extra_is_named(module, package, extra):
    calls = {
        "plot": "nnrs.plot.images([[[0.0]]])",
        "onnx": "nnrs.onnx.export(nnrs.nn.MLP([2, 1]), 'model.onnx')",
        "torch": "nnrs.torch.to_torch(nnrs.nn.MLP([2, 1]))",
    }
    code = f"""
import sys
sys.modules[{package!r}] = None
import nnrs
try:
    {calls[module]}
except ImportError as error:
    print(error)
"""
    assert f"pip install 'nnrs[{extra}]'" in python(code)


def test_installed_size():
    folder = Path(nnrs.__file__).parent
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert any(path.name == "py.typed" for path in files)
    size = sum(path.stat().st_size for path in files)
    assert size <= 5_000_000, f"{size / 1e6:.1f} MB installed"


@pytest.mark.parametrize("name", ["nnrs", *MODULES])
def test_docstring_examples(name, tmp_path, monkeypatch):
    for package in needs(name):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    threads = nnrs.get_num_threads()
    try:
        failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    finally:
        nnrs.set_num_threads(threads)
    assert failed == 0


PUBLIC = ("nn", "optim", "functional", "data", "datasets", "metrics", "callbacks", "plot", "onnx", "torch")


@pytest.mark.parametrize("module", ["nnrs", *(f"nnrs.{name}" for name in PUBLIC)])
def test_everything_public_has_an_example(module):
    for package in needs(module):
        pytest.importorskip(package)
    found = importlib.import_module(module)
    values = {name: getattr(found, name) for name in found.__all__}
    bare = [
        name
        for name, value in values.items()
        if callable(value) and not (isinstance(value, type) and issubclass(value, Exception))
        if ">>>" not in (value.__doc__ or "")
    ]
    assert values
    assert not bare


def readme_examples() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(readme_examples())))
def test_readme_examples_run_as_they_stand(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(readme_examples()[number], f"README example {number}", "exec"), {"__name__": "__main__"})


def test_readme_has_an_example():
    assert readme_examples()


def test_make_alone_prints_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split()) - {
        "help",
        "check",
        "check-lint",
        "build",
    }
    printed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert targets == set(re.findall(r"^  (\S+)  +\S", printed, re.MULTILINE))


def test_make_names_what_is_missing(tmp_path):
    """With an empty PATH nothing but make's own shell is found."""
    done = subprocess.run(
        ["make", "check", "PYTHON=no-such-python", f"PATH={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "missing: CPython 3.10 or newer" in done.stderr
    assert "missing: a Rust toolchain" in done.stderr
