"""JAX: one compiled function a step, its state donated, so that nothing is copied.

Its threads are as many as the cores that the process may use when JAX starts. Calls are dispatched on the
calling thread: the default, another thread, only adds its waking when every result is waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nnrs.cli.bench.net import Floats, Net, probabilities

__all__ = ["prediction", "step"]


def _jax() -> Any:
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return jax


def _logits(parameters: Any, x: Any, relu: Any) -> Any:
    for i in range(0, len(parameters) - 2, 2):
        x = relu(x @ parameters[i].T + parameters[i + 1])
    return x @ parameters[-2].T + parameters[-1]


def step(net: Net, lr: float) -> Callable[[], float]:
    """Return a training step; each call gives the loss before it, and that alone leaves JAX."""
    jax = _jax()
    jnp = jax.numpy
    beta1, beta2, eps = 0.9, 0.999, 1e-8

    def mean_loss(parameters: Any, x: Any, y: Any) -> Any:
        logits = _logits(parameters, x, jax.nn.relu)
        if net.binary:
            return jnp.mean(jax.nn.softplus(logits[:, 0]) - logits[:, 0] * y)
        picked = jnp.take_along_axis(logits, y[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(logits, axis=1) - picked)

    def update(state: Any, x: Any, y: Any) -> Any:
        parameters, m, v, power1, power2 = state
        loss, gradients = jax.value_and_grad(mean_loss)(parameters, x, y)
        power1, power2 = power1 * beta1, power2 * beta2
        root = jnp.sqrt(1 - power2)
        m = [beta1 * a + (1 - beta1) * g for a, g in zip(m, gradients, strict=True)]
        v = [beta2 * a + (1 - beta2) * g * g for a, g in zip(v, gradients, strict=True)]
        rate = lr * root / (1 - power1)
        parameters = [
            p - rate * a / (jnp.sqrt(b) + eps * root) for p, a, b in zip(parameters, m, v, strict=True)
        ]
        return (parameters, m, v, power1, power2), loss

    def zeros() -> Any:
        return [jnp.zeros(value.shape, jnp.float32) for value in net.parameters()]

    compiled = jax.jit(update, donate_argnums=0)
    start = [jnp.array(value) for value in net.parameters()]
    state = (start, zeros(), zeros(), jnp.float32(1), jnp.float32(1))
    x = jnp.array(net.rows())
    y = jnp.array(net.targets().astype(np.float32 if net.binary else np.int32))

    def run() -> float:
        nonlocal state
        state, loss = compiled(state, x, y)
        return float(loss)

    return run


def prediction(net: Net) -> tuple[Callable[[], Any], Callable[[Any], Floats]]:
    """Return a prediction, and what turns its result into probabilities."""
    jax = _jax()
    parameters = [jax.numpy.array(value) for value in net.parameters()]
    compiled = jax.jit(lambda x: _logits(parameters, x, jax.nn.relu))

    def run(x: Any) -> Any:
        return compiled(x).block_until_ready()

    return partial(run, jax.numpy.array(net.rows())), probabilities
