"""What ends or disturbs a run: Ctrl-C, exceptions, numbers that are not finite, threads, fork."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from nnrs import nn, optim
from nnrs.callbacks import Callback, LambdaCallback


class StopError(Exception):
    pass


def stop_at(step):
    def hook(trainer, logs):
        if logs["step"] == step:
            raise StopError

    return LambdaCallback(on_step_end=hook)


def replay(trainer, x, y, steps, epochs=1000, batch_size=32):
    with pytest.raises(StopError):
        trainer.fit(x, y, epochs=epochs, batch_size=batch_size, callbacks=[stop_at(steps)])
    assert trainer.global_step == steps


def test_ctrl_c_leaves_the_last_whole_step(table, network, trainer_of, assert_same):
    x, y = table(rows=20_000)
    interrupted, other = trainer_of(network(0.3)), trainer_of(network(0.3))
    # A timer's signal reaches the main thread, the one that trains.
    timer = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT])
    # A shell's background jobs begin with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            interrupted.fit(x, y, epochs=100_000)
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)
    done = interrupted.global_step
    assert done > 0
    # After the last step of an epoch, it may or may not have been counted yet.
    counted = interrupted.epoch
    assert counted in (done // 625, (done - 1) // 625)
    assert len(interrupted.history.epochs) == counted
    replay(other, x, y, done)
    assert_same(interrupted, other)
    for trainer in (interrupted, other):
        trainer.fit(x[:100], y[:100], epochs=2)
        trainer.step(x[:10], y[:10])
    assert_same(interrupted, other)
    assert interrupted.history.epochs[-1]["epoch"] == counted + 2


@pytest.mark.parametrize(
    "hook", ["on_train_begin", "on_epoch_begin", "on_step_end", "on_epoch_end", "on_train_end"]
)
@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt])
def test_a_callback_that_raises(table, network, trainer_of, assert_same, hook, error):
    x, y = table()
    trainer = trainer_of(network(0.3).eval())

    def fail(trainer, logs):
        raise error

    with pytest.raises(error):
        trainer.fit(x, y, epochs=2, callbacks=[LambdaCallback(**{hook: fail})])
    steps = {"on_step_end": 1, "on_epoch_end": 2, "on_train_end": 4}.get(hook, 0)
    assert trainer.global_step == steps
    assert trainer.epoch == len(trainer.history.epochs) == steps // 2
    assert not any(module.training for module in trainer.model.modules())
    other = trainer_of(network(0.3))
    if steps:
        replay(other, x, y, steps)
    assert_same(trainer, other)
    other.epoch = trainer.epoch
    for going_on in (trainer, other):
        going_on.fit(x, y, epochs=1)
    assert_same(trainer, other)


def test_callbacks_may_write_into_data(table, trainer_of, assert_same):
    x, y = table()
    by_hand, trained = trainer_of(kind=optim.SGD), trainer_of(kind=optim.SGD)

    def halve(trainer, logs):
        trainer.model[0].weight.data[:] *= 0.5

    trained.fit(x, y, epochs=1, batch_size=20, shuffle=False, callbacks=[LambdaCallback(on_step_end=halve)])
    for start in (0, 20, 40):
        by_hand.step(x[start : start + 20], y[start : start + 20])
        halve(by_hand, {})
    assert_same(by_hand, trained)
    for rows in (1, 60):
        before = trained.model.eval()(x[:rows]).copy()
        trained.model[3].bias.data[:] += 1
        np.testing.assert_allclose(trained.model(x[:rows]), before + 1, rtol=1e-5, atol=1e-6)


class Own(nn.Module):
    """Lets inputs through, so that steps run in Python."""

    def forward(self, x):
        return x

    def backward(self, dout):
        return dout


@pytest.mark.parametrize("own", [False, True])
def test_a_loss_that_is_not_finite_writes_nothing(table, network, trainer_of, parameters, own):
    x, y = table()
    model = nn.Sequential(network(0.3), *([Own()] if own else []), seed=1)
    trainer = trainer_of(model)
    trainer.step(x, y)
    before, state = parameters(trainer), trainer.optimizer.state_dict()
    bad = x.copy()
    bad[7, 2] = np.nan
    with pytest.raises(RuntimeError, match=r"finite|loss is nan"):
        trainer.step(bad, y)
    np.testing.assert_equal(parameters(trainer), before)
    np.testing.assert_equal(trainer.optimizer.state_dict(), state)
    assert trainer.global_step == 1
    trainer.step(x, y)
    assert trainer.global_step == 2


@pytest.mark.parametrize("own", [False, True])
def test_an_epoch_ends_before_the_step_that_is_not_finite(table, network, trainer_of, assert_same, own):
    x, y = table()
    x[45, 0] = np.nan
    model, twin = (nn.Sequential(network(), *([Own()] if own else []), seed=1) for _ in range(2))
    trainer, other = trainer_of(model), trainer_of(twin)
    with pytest.raises(RuntimeError, match=r"finite|loss is nan"):
        trainer.fit(x, y, epochs=5, batch_size=20, shuffle=False)
    assert trainer.global_step == 2
    assert trainer.history.epochs == []
    for start in (0, 20):
        other.step(x[start : start + 20], y[start : start + 20])
    assert_same(trainer, other)
    trainer.fit(x[:40], y[:40], epochs=1)


def test_one_thread_at_a_time_trains_a_model(table, trainer_of):
    x, y = table()
    trainer = trainer_of()
    rival = trainer_of(trainer.model)
    inside, go_on, seen = threading.Event(), threading.Event(), []

    class Wait(Callback):
        def on_epoch_end(self, trainer, logs):
            inside.set()
            assert go_on.wait(10)

    worker = threading.Thread(target=lambda: seen.append(trainer.fit(x, y, epochs=1, callbacks=[Wait()])))
    worker.start()
    assert inside.wait(10)
    for busy in (trainer, rival):
        with pytest.raises(RuntimeError, match="busy"):
            busy.fit(x, y, epochs=1)
    np.testing.assert_array_equal(trainer.model.predict(x), rival.model.predict(x))
    go_on.set()
    worker.join()
    assert len(seen) == 1
    rival.fit(x, y, epochs=1)


@pytest.mark.parametrize("own", [False, True])
def test_steps_of_two_threads_are_refused_or_whole(table, network, trainer_of, own):
    x, y = table(rows=3000, features=40)
    model = nn.Sequential(network(features=40), *([Own()] if own else []), seed=1)
    trainer = trainer_of(model)
    trainer.step(x, y)
    done, refused = [0] * 4, [0] * 4
    start = threading.Barrier(4)

    def attempt(number):
        try:
            trainer.step(x, y)
            done[number] += 1
        except RuntimeError as error:
            refused[number] += "busy" in str(error)

    def work(number):
        start.wait()
        for _ in range(30):
            attempt(number)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) + sum(refused) == 120
    assert trainer.global_step == 1 + sum(done)
    other = trainer_of(nn.Sequential(network(features=40), *([Own()] if own else []), seed=1))
    for _ in range(trainer.global_step):
        other.step(x, y)
    for p, q in zip(trainer.model.parameters(), other.model.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_two_models_train_in_two_threads(table, network, trainer_of, assert_same):
    x, y = table(rows=2000)
    alone = trainer_of(network(0.3))
    alone.fit(x, y, epochs=3)
    together = [trainer_of(network(0.3)) for _ in range(2)]
    threads = [threading.Thread(target=t.fit, args=(x, y), kwargs={"epochs": 3}) for t in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for trainer in together:
        assert_same(trainer, alone)


def test_a_fit_inside_a_fit_is_refused(table, trainer_of):
    x, y = table()
    trainer = trainer_of()
    hook = LambdaCallback(on_epoch_end=lambda trainer, _: trainer.fit(x, y, epochs=1))
    with pytest.raises(RuntimeError, match="busy"):
        trainer.fit(x, y, epochs=1, callbacks=[hook])


FORK = """
import hashlib, os, sys
import numpy as np
import nnrs
from nnrs import nn, optim

rng = np.random.default_rng(0)
x = rng.normal(size=(600, 300)).astype("float32")
y = rng.integers(0, 10, 600)
model = nn.MLP([300, 400, 10], dropout=0.1, seed=0)
trainer = nnrs.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=1e-3), seed=0)
trainer.fit(x, y, epochs=1, batch_size=200)
model.predict(x)

def go_on():
    trainer.fit(x, y, epochs=1, batch_size=200)
    trainer.step(x, y)
    bits = b"".join(p.data.tobytes() for p in model.parameters()) + model.predict_proba(x).tobytes()
    return hashlib.sha256(bits).hexdigest()

read, write = os.pipe()
child = os.fork()
if child == 0:
    os.write(write, go_on().encode())
    os._exit(0)
own = go_on()
os.close(write)
with os.fdopen(read) as pipe:
    print(own == pipe.read(), own != "")
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def run_forking(program):
    if not hasattr(os, "fork"):
        pytest.skip("needs system linux")
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_train_then_fork_then_train_in_both():
    assert run_forking(FORK) == ["True", "True", "0"]


FORK_INSIDE = """
import os
import numpy as np
import nnrs
from nnrs import nn, optim

x, y = nnrs.datasets.moons(50)
model = nn.MLP([2, 8, 2], seed=0)
trainer = nnrs.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=1e-3), seed=0)

def fork(trainer, logs):
    child = os.fork()
    if child == 0:
        nnrs.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1)).fit(x, y, epochs=1)
        model.predict(x)
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

trainer.fit(x, y, epochs=1, callbacks=[nnrs.callbacks.LambdaCallback(on_epoch_end=fork)])
"""


def test_a_child_forked_inside_a_run_may_train():
    assert run_forking(FORK_INSIDE) == ["7"]
