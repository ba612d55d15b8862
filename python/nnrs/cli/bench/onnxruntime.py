"""ONNX Runtime: all optimisations, inputs and outputs bound beforehand. It predicts only."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import nnrs.onnx
from nnrs.cli.bench.net import Floats, Net, probabilities
from nnrs.config import get_num_threads

__all__ = ["prediction"]


def prediction(net: Net) -> tuple[Callable[[], Any], Callable[[Any], Floats]]:
    """Return a prediction, and what turns its result into probabilities.

    A call copies the rows into the bound input, as a server would: 0.2 µs of copying for a call that costs
    2 µs less than `run` with a dictionary.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = get_num_threads()
    options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        nnrs.onnx.export(net.model().eval(), path)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    x = net.rows()
    bound, outputs = np.empty_like(x), np.empty((net.batch, net.sizes[-1]), np.float32)
    binding = session.io_binding()
    for bind, node, array in (
        (binding.bind_input, session.get_inputs()[0], bound),
        (binding.bind_output, session.get_outputs()[0], outputs),
    ):
        bind(node.name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    run_bound = session.run_with_iobinding

    def run() -> Floats:
        np.copyto(bound, x)
        run_bound(binding)
        return outputs

    return run, probabilities
