"""What the figures belong to: machine, versions, date."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from pathlib import Path

import nnrs
from nnrs.cli.bench.floor import Peaks
from nnrs.cli.bench.worker import cores

_PACKAGES = ("numpy", "torch", "jax", "scikit-learn", "onnxruntime")


def describe(threads: int, rounds: int) -> dict[str, str]:
    """Return a value for each line of the block."""
    config = nnrs.show_config(mode="dicts")
    assert config is not None
    caches = ", ".join(f"{name.upper()} {size // 1024:,} KiB" for name, size in config["cache_sizes"].items())
    return {
        "date": datetime.date.today().isoformat(),
        "processor": f"{_processor()}, {len(cores())} cores usable",
        "caches": caches,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "instruction set": config["isa"],
        "threads": f"{threads}, each contestant in a process of its own on as many cores",
        "rounds": f"{rounds}; medians, in brackets the 10th and 90th percentile",
        "versions": ", ".join(
            [f"nnrs {nnrs.__version__}", f"Python {platform.python_version()}", *map(_version, _PACKAGES)]
        ),
    }


def peaks(found: Peaks, threads: int) -> dict[str, str]:
    """Return the peaks measured in this run, of so many threads together."""
    sizes = {"L1": 16 << 10, "L2": 512 << 10, "memory": 256 << 20}
    bandwidth = ", ".join(
        f"{found.read(size * threads, threads) / 1e9:,.0f} ({name}, {_size(size)})"
        for name, size in sizes.items()
    )
    return {
        "FMA peak": f"{found.fma(threads) / 1e9:,.0f} GFLOP/s, float32, {threads} threads",
        "read bandwidth": f"{bandwidth} GB/s, {threads} threads, so much each",
    }


def _size(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"no {package}"
