import numpy as np
import pytest

import nnrs
from nnrs import nn, optim
from nnrs.callbacks import Callback, EarlyStopping, LambdaCallback, wants_steps

HOOKS = ["on_train_begin", "on_epoch_begin", "on_step_end", "on_epoch_end", "on_train_end"]


def setup(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 3)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    model = nn.Sequential(nn.Linear(3, 2), seed=0)
    trainer = nnrs.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), seed=0)
    return x, y, trainer


def test_hooks_come_in_order_with_what_is_known():
    x, y, trainer = setup()
    seen = []

    def note(name):
        return lambda own, logs: seen.append((name, own is trainer, dict(logs)))

    hook = LambdaCallback(**{name: note(name) for name in HOOKS})
    trainer.fit(x, y, epochs=2, batch_size=20, validation_data=(x, y), callbacks=[hook])
    assert [name for name, _, _ in seen] == [
        "on_train_begin",
        *["on_epoch_begin", "on_step_end", "on_step_end", "on_epoch_end"] * 2,
        "on_train_end",
    ]
    assert all(own for _, own, _ in seen)
    assert seen[0][2] == {}
    assert seen[1][2] == {"epoch": 1}
    assert [logs["step"] for name, _, logs in seen if name == "on_step_end"] == [1, 2, 3, 4]
    assert np.mean([logs["loss"] for name, _, logs in seen[1:5] if name == "on_step_end"]) == pytest.approx(
        seen[4][2]["loss"]
    )
    assert list(seen[4][2]) == ["epoch", "loss", "val_loss", "seconds"]
    assert seen[-1][2] == trainer.history.epochs[-1]


def test_callbacks_run_in_the_order_given():
    x, y, trainer = setup()
    seen = []
    hooks = [LambdaCallback(on_epoch_end=lambda *_, n=n: seen.append(n)) for n in range(3)]
    trainer.fit(x, y, epochs=1, callbacks=hooks)
    assert seen == [0, 1, 2]


def test_only_a_hook_of_its_own_asks_for_steps():
    class Own(Callback):
        def on_step_end(self, trainer, logs):
            pass

    assert wants_steps(Own())
    assert wants_steps(LambdaCallback(on_step_end=print))
    assert not wants_steps(Callback())
    assert not wants_steps(EarlyStopping())
    assert not wants_steps(LambdaCallback(on_epoch_end=print))


def test_a_callback_may_end_the_run():
    x, y, trainer = setup()

    def stop(trainer, logs):
        trainer.stop_training = logs["epoch"] == 3

    trainer.fit(x, y, epochs=10, callbacks=[LambdaCallback(on_epoch_end=stop)])
    assert trainer.epoch == 3
    trainer.fit(x, y, epochs=2)
    assert trainer.epoch == 5


def test_what_a_callback_logs_is_kept():
    x, y, trainer = setup()

    def add(trainer, logs):
        logs["norm"] = float(np.linalg.norm(trainer.model.flat_parameters()))

    trainer.fit(x, y, epochs=2, callbacks=[LambdaCallback(on_epoch_end=add)])
    assert all(row["norm"] > 0 for row in trainer.history.epochs)


def run_through(stop, values, name="val_loss"):
    """Epochs until `stop` ends a run whose weights are the number of the epoch."""
    _, _, trainer = setup()
    stop.on_train_begin(trainer, {})
    trainer.stop_training = False
    logs = {}
    for epoch, value in enumerate(values, 1):
        trainer.model[0].bias.data = [epoch, epoch]
        logs = {"epoch": epoch, name: value}
        stop.on_epoch_end(trainer, logs)
        if trainer.stop_training:
            break
    stop.on_train_end(trainer, logs)
    return epoch, int(trainer.model[0].bias.data[0])


@pytest.mark.parametrize(
    ("options", "values", "ended", "best"),
    [
        ({"patience": 2}, [3.0, 2.0, 2.5, 2.5, 1.0], 4, 2),
        ({"patience": 2}, [3.0, 2.0, 2.5, 1.9, 2.0, 2.0, 0.0], 6, 4),
        ({"patience": 1}, [3.0, 2.0, 1.0], 3, 3),
        ({"patience": 0}, [3.0, 2.0, 2.0, 1.0], 3, 2),
        ({"patience": 2, "min_delta": 0.5}, [3.0, 2.4, 2.0, 1.95, 0.0], 4, 2),
        ({"patience": 1, "mode": "max"}, [1.0, 2.0, 1.5, 3.0], 3, 2),
        ({"patience": 9}, [1.0, 2.0, 3.0], 3, 1),
        ({"patience": 2}, [float("nan"), 2.0, float("nan"), float("nan"), 1.0], 4, 2),
        ({"patience": 2}, [float("nan")] * 5, 2, 2),
        ({"patience": 2, "restore_best": False}, [1.0, 2.0, 3.0], 3, 3),
    ],
)
def test_early_stopping_keeps_the_best_weights(options, values, ended, best):
    stop = EarlyStopping(**options)
    assert run_through(stop, values) == (ended, best)
    if options.get("restore_best", True) and np.isfinite(values[0]):
        assert stop.best_epoch == best
        assert stop.best == values[best - 1]
    assert stop.stopped_epoch == (ended if ended < len(values) else None) or options == {
        "patience": 2,
        "restore_best": False,
    }


def test_early_stopping_starts_anew_in_a_second_run():
    stop = EarlyStopping(patience=2)
    assert run_through(stop, [1.0, 2.0, 3.0, 4.0]) == (3, 1)
    assert run_through(stop, [9.0, 8.0, 9.0, 9.0]) == (4, 2)


def test_early_stopping_in_a_fit():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 20)).astype("float32")
    y = rng.integers(0, 2, 60)
    model = nn.MLP([20, 64, 2], seed=0)
    trainer = nnrs.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01), seed=0)
    stop = EarlyStopping(patience=3)
    history = trainer.fit(x[:40], y[:40], epochs=200, validation_data=(x[40:], y[40:]), callbacks=[stop])
    losses = [row["val_loss"] for row in history.epochs]
    assert stop.stopped_epoch == len(losses) < 200
    assert stop.best == min(losses) < losses[-1]
    assert stop.best_epoch == 1 + int(np.argmin(losses)) == len(losses) - 3
    assert trainer.evaluate(x[40:], y[40:])["loss"] == stop.best


def test_a_run_cut_short_keeps_its_last_weights():
    x, y, trainer = setup()

    def fail(trainer, logs):
        if logs["epoch"] == 3:
            raise KeyboardInterrupt

    class Worse(Callback):
        def on_epoch_end(self, trainer, logs):
            logs["val_loss"] = float(logs["epoch"])

    kept = []
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(
            x,
            y,
            epochs=5,
            callbacks=[
                Worse(),
                EarlyStopping(),
                LambdaCallback(on_epoch_end=lambda own, _: kept.append(own.model.flat_parameters().copy())),
                LambdaCallback(on_epoch_end=fail),
            ],
        )
    np.testing.assert_array_equal(trainer.model.flat_parameters(), kept[-1])
    assert not np.array_equal(kept[-1], kept[0])


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [
        ("loss", "min"),
        ("val_loss", "min"),
        ("val_accuracy", "max"),
        ("val_r2", "max"),
        ("mae", "min"),
        ("val_log_loss", "min"),
        ("val_likelihood", "max"),
        ("val_mean_error", "min"),
    ],
)
def test_auto_knows_what_is_better(monitor, mode):
    assert EarlyStopping(monitor).mode == mode


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EarlyStopping("val_f1"), ValueError, "mode='auto' does not know"),
        (lambda: EarlyStopping(mode="best"), ValueError, "mode must be one of 'auto', 'min', 'max'"),
        (lambda: EarlyStopping(patience=-1), ValueError, "patience must be at least 0"),
        (lambda: EarlyStopping(patience=1.5), TypeError, "patience must be an int"),
        (lambda: EarlyStopping(min_delta=-0.1), ValueError, "min_delta must be"),
        (
            lambda: LambdaCallback(on_batch_end=print),
            TypeError,
            "on_batch_end is no hook; expected one of on_train_begin",
        ),
        (lambda: LambdaCallback(on_epoch_end=3), TypeError, "on_epoch_end must be a function"),
    ],
)
def test_wrong_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_value_that_is_not_there():
    x, y, trainer = setup()
    with pytest.raises(
        ValueError, match="monitor='val_loss' is not among epoch, loss, seconds; give fit validation_data"
    ):
        trainer.fit(x, y, epochs=1, callbacks=[EarlyStopping()])
    with pytest.raises(ValueError, match=r"monitor='accuracy' is not among epoch, loss, seconds$"):
        trainer.fit(x, y, epochs=1, callbacks=[EarlyStopping("accuracy")])
