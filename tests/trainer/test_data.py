import tracemalloc

import numpy as np
import pandas as pd
import pytest

from nnrs import nearby, nn


@pytest.mark.parametrize("kind", ["int64", "uint8", "float16", "float64", ">f4", "bool", "list"])
def test_features_are_converted_to_the_models_dtype(kind, table, trainer_of, assert_same):
    x, y = table()
    x = np.round(x * 2).clip(0, 3).astype("float32")
    given = x.astype(int).tolist() if kind == "list" else x.astype(kind)
    one, two = trainer_of(), trainer_of()
    one.fit(given, y, epochs=1)
    two.fit(x.astype(bool).astype("float32") if kind == "bool" else x, y, epochs=1)
    assert_same(one, two)


def test_float64_models(table, network, trainer_of):
    x, y = table(dtype="float64")
    trainer = trainer_of(network(dtype="float64"))
    trainer.fit(x, y, epochs=1)
    assert trainer.model[0].weight.data.dtype == np.float64


@pytest.mark.parametrize("shuffle", [False, True, "full"])
def test_a_memory_map_of_another_dtype(shuffle, tmp_path, network, trainer_of, assert_same):
    rows, features = 4000, 400
    x = np.random.default_rng(0).integers(0, 255, (rows, features), dtype=np.uint8)
    y = x[:, 0] > 127
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    one = trainer_of(network(features=features, outputs=2), lr=1e-5)
    tracemalloc.start()
    one.fit(mapped, y, epochs=1, batch_size=100, shuffle=shuffle)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Batch by batch, or in buffers that hold many more rows than these.
    assert shuffle is True or peak < rows * features * 4 / 2
    two = trainer_of(network(features=features, outputs=2), lr=1e-5)
    two.fit(x, y, epochs=1, batch_size=100, shuffle=shuffle)
    assert_same(one, two)


def test_wrong_targets_of_a_memory_map_are_found_before_it_is_learned(
    tmp_path, network, trainer_of, monkeypatch
):
    monkeypatch.setattr(nearby, "_NUMBERS", 1)
    rows = 20_000
    np.save(tmp_path / "x.npy", np.zeros((rows, 5), "float32"))
    x, y = np.load(tmp_path / "x.npy", mmap_mode="r"), np.full((rows, 3), 1 / 3)
    trainer = trainer_of()
    before = trainer.model.state_dict()
    y[-1, 0] = 1.5
    with pytest.raises(ValueError, match=r"target\[19999\] sums to"):
        trainer.fit(x, y, epochs=1)
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    y[-1, 0] = 1 / 3
    trainer.fit(x, y, epochs=1)
    assert trainer.global_step == 625


def test_targets_are_neither_copied_nor_written(table, trainer_of):
    x, _ = table()
    y = np.arange(60) % 3
    trainer = trainer_of()

    def sorts(true, pred):
        true.sort()
        return 0.0

    with pytest.raises(ValueError, match="read-only"):
        trainer.fit(x, y, epochs=1, metrics=[sorts], train_metrics=True, validation_data=(x, y))
    np.testing.assert_array_equal(y, np.arange(60) % 3)
    y.sort()


def test_images_go_through_flatten(table, trainer_of, assert_same):
    x, y = table(features=12)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), seed=0)
    flat = nn.Sequential(nn.Linear(12, 3), seed=0)
    cubes = x.reshape(60, 3, 4)
    one, two = trainer_of(model), trainer_of(flat)
    one.fit(cubes, y, epochs=2, validation_data=(cubes[:5], y[:5]))
    two.fit(x, y, epochs=2, validation_data=(x[:5], y[:5]))
    one.step(cubes[:4], y[:4])
    two.step(x[:4], y[:4])
    assert_same(one, two)
    assert one.evaluate(cubes, y) == two.evaluate(x, y)
    assert one.history.epochs[1]["val_loss"] == two.history.epochs[1]["val_loss"]


def test_frames_keep_their_names(table, trainer_of, assert_same):
    x, y = table()
    frame = pd.DataFrame(x.astype("float64"), columns=list("abcde"))
    one, two = trainer_of(), trainer_of()
    one.fit(frame, pd.Series(y), epochs=2, validation_data=(frame[list("edcba")], y))
    two.fit(x, y, epochs=2, validation_data=(x, y))
    assert_same(one, two)
    assert one.model.feature_names_ == list("abcde")
    assert two.model.feature_names_ is None
    assert one.history.epochs[0]["val_loss"] == pytest.approx(two.history.epochs[0]["val_loss"])
    assert one.evaluate(frame[list("bacde")], y) == one.evaluate(frame, y)
    np.testing.assert_array_equal(one.model.predict(frame[list("bacde")]), one.model.predict(x))
    with pytest.raises(ValueError, match="x lacks the column 'c'"):
        one.fit(frame.drop(columns="c"), y, epochs=1)
    with pytest.raises(TypeError, match="x has the column 'a'"):
        trainer_of().fit(frame.assign(a="text"), y, epochs=1)


def test_generators_serve_one_epoch(table, trainer_of, assert_same):
    x, y = table()
    trainer = trainer_of()
    parts = ((x[i : i + 20], y[i : i + 20]) for i in range(0, 60, 20))
    with pytest.raises(ValueError, match=r"x gave no batches in epoch 2.*nnrs\.data\.batches"):
        trainer.fit(parts, epochs=2)
    assert trainer.epoch == 1
    assert trainer.global_step == 3
    by_rows = trainer_of()
    by_rows.fit(x, y, epochs=1, batch_size=20, shuffle=False)
    assert_same(trainer, by_rows)


def test_batches_may_have_weights(table, trainer_of, assert_same):
    x, y = table()
    weights = np.linspace(0.1, 2, 60)
    one, two = trainer_of(), trainer_of()
    parts = [(x[i : i + 20], y[i : i + 20], weights[i : i + 20]) for i in range(0, 60, 20)]
    one.fit(parts, epochs=1, validation_data=(x, y), metrics=["accuracy"])
    two.fit(
        x,
        y,
        epochs=1,
        batch_size=20,
        shuffle=False,
        sample_weight=weights,
        validation_data=(x, y),
        metrics=["accuracy"],
    )
    assert_same(one, two)
    for name in ("loss", "val_loss", "val_accuracy"):
        assert one.history.epochs[0][name] == pytest.approx(two.history.epochs[0][name], rel=1e-6)


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ((np.zeros((2, 5)),), TypeError, "expected \\(xb, yb\\)"),
        ("ab", TypeError, "gave a str"),
        ((np.zeros((2, 5)), [0]), ValueError, "yb has 1 rows; expected 2"),
        ((np.zeros((2, 5)), [0, 5]), ValueError, "label 5; expected class numbers 0 to 2"),
        ((np.zeros((2, 5)), ["a", "b"]), ValueError, "label 'a'"),
        ((np.zeros((2, 5)), [0, 1], [1, -1]), ValueError, "sample_weight has negative"),
        ((np.zeros((2, 4), "float32"), [0, 1]), ValueError, "x has shape"),
    ],
)
def test_wrong_batches(batch, error, message, trainer_of):
    with pytest.raises(error, match=message):
        trainer_of().fit([batch], epochs=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation_split": 0.1}, "validation_split needs arrays"),
        ({"sample_weight": [1]}, "sample_weight needs arrays"),
        ({"train_metrics": True}, "train_metrics needs arrays"),
        ({"refit_scalers": True}, "refit_scalers needs arrays"),
        ({"class_weight": "balanced"}, "class_weight='balanced' needs arrays"),
    ],
)
def test_what_an_iterable_cannot_do(arguments, message, table, trainer_of):
    x, y = table()
    with pytest.raises(ValueError, match=message):
        trainer_of().fit([(x, y)], epochs=1, **arguments)
