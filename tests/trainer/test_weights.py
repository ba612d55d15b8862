import numpy as np
import pytest

from nnrs import nn, optim
from nnrs.data.split import split_rows


def test_weights_of_samples_count_like_copies(table, network, trainer_of):
    x, y = table(dtype="float64")
    counts = np.arange(60) % 3 + 1
    one, two = (trainer_of(network(dtype="float64"), kind=optim.SGD, lr=0.5) for _ in range(2))
    one.fit(x, y, epochs=3, batch_size=1000, sample_weight=counts)
    two.fit(np.repeat(x, counts, axis=0), np.repeat(y, counts), epochs=3, batch_size=1000)
    for p, q in zip(one.model.parameters(), two.model.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-9, atol=1e-12)
    assert one.history.epochs[-1]["loss"] == pytest.approx(two.history.epochs[-1]["loss"], rel=1e-9)


def test_rows_of_weight_zero_take_no_part(table, trainer_of):
    x, y = table()
    weights = (np.arange(60) % 4 == 0).astype(float)
    one, two = trainer_of(), trainer_of()
    one.fit(x, y, epochs=2, batch_size=4, sample_weight=weights)
    two.fit(x[weights > 0], y[weights > 0], epochs=2, batch_size=4)
    for p, q in zip(one.model.parameters(), two.model.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, atol=1e-6)
    assert one.global_step == 8


def test_class_weights_are_weights_of_their_rows(table, trainer_of):
    x, y = table()
    weight = np.array([1.0, 0.5, 3.0])
    names = np.array(["a", "b", "c"])
    ways = [
        {"y": y, "sample_weight": weight[y]},
        {"y": y, "class_weight": weight},
        {"y": y, "class_weight": {0: 1.0, 1: 0.5, 2: 3.0}},
        {"y": names[y], "class_weight": {"b": 0.5, "c": 3.0}},
        {"y": np.eye(3)[y], "class_weight": weight},
    ]
    trained = []
    for way in ways:
        trainer = trainer_of()
        trainer.fit(x, epochs=2, **way)
        trained.append(trainer)
    for other in trained[1:]:
        for p, q in zip(trained[0].model.parameters(), other.model.parameters(), strict=True):
            np.testing.assert_allclose(p.data, q.data, atol=1e-5)
    in_loss = trainer_of(loss=nn.CrossEntropyLoss(weight))
    in_loss.fit(x, y, epochs=2)
    for p, q in zip(trained[0].model.parameters(), in_loss.model.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, atol=1e-5)
    assert in_loss.history.epochs[0]["loss"] == pytest.approx(trained[0].history.epochs[0]["loss"], rel=1e-5)


@pytest.mark.parametrize("where", ["fit", "loss"])
def test_balanced_weights_count_the_training_rows_alone(where, table, trainer_of):
    x, y = table()
    held_out = split_rows(60, 20, seed=7, stratify=y)[1]
    counts = np.bincount(np.delete(y, held_out), minlength=3)
    expected = 40 / (3 * counts)
    one = trainer_of(loss=nn.CrossEntropyLoss("balanced" if where == "loss" else None))
    one.fit(x, y, epochs=2, validation_split=20, class_weight="balanced" if where == "fit" else None)
    two = trainer_of()
    two.fit(x, y, epochs=2, validation_split=20, class_weight=expected)
    for p, q in zip(one.model.parameters(), two.model.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, atol=1e-5)


def test_class_weights_of_one_output(table, network, trainer_of):
    x, y = table(classes=2)
    one, two = (trainer_of(network(outputs=1), nn.BCEWithLogitsLoss()) for _ in range(2))
    one.fit(x, np.where(y, "yes", "no"), epochs=2, class_weight={"yes": 4.0})
    two.fit(x, y, epochs=2, sample_weight=np.where(y, 4.0, 1.0))
    for p, q in zip(one.model.parameters(), two.model.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, atol=1e-6)


def test_a_class_of_weight_zero_never_makes_an_empty_batch(table, trainer_of):
    x, y = table()
    trainer = trainer_of()
    trainer.fit(x, y, epochs=1, batch_size=1, class_weight={0: 0.0})
    assert trainer.global_step == (y != 0).sum()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sample_weight": np.ones(3)}, ValueError, r"sample_weight has shape \(3,\); expected \(60,\)"),
        ({"sample_weight": -np.ones(60)}, ValueError, "negative"),
        ({"sample_weight": np.full(60, np.nan)}, ValueError, "NaN"),
        ({"sample_weight": np.zeros(60)}, ValueError, "zero everywhere"),
        ({"class_weight": [1, 2]}, ValueError, r"class_weight has shape \(2,\); expected \(3,\)"),
        ({"class_weight": {7: 1.0}}, ValueError, "names class 7"),
        ({"class_weight": "even"}, ValueError, "'even'"),
    ],
)
def test_wrong_weights(arguments, error, message, table, trainer_of, parameters):
    x, y = table()
    trainer = trainer_of()
    before = parameters(trainer)
    with pytest.raises(error, match=message):
        trainer.fit(x, y, epochs=1, **arguments)
    np.testing.assert_equal(parameters(trainer), before)


def test_class_weights_need_classes(table, network, trainer_of):
    x, _ = table()
    with pytest.raises(ValueError, match="class_weight weighs classes; the task 'regression' has none"):
        trainer_of(network(outputs=1), nn.MSELoss()).fit(x, x[:, 0], epochs=1, class_weight=[1, 2])
