"""That networks learn what the textbooks say they learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import nnrs
from nnrs import nn, optim


def perceptron(x, y, epochs=50, lr=1.0):
    model = nn.Sequential(nn.Linear(x.shape[1], 1, init="zeros", dtype="float64"))
    trainer = nnrs.Trainer(model, nn.PerceptronLoss(), optim.SGD(model.parameters(), lr=lr), seed=0)
    history = trainer.fit(x, y, epochs=epochs, batch_size=1, metrics=["accuracy"], train_metrics=True)
    return model, trainer, history.epochs[-1]


def test_the_perceptron_separates_what_a_line_separates():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 2))
    x = x[np.abs(x @ [1.0, -2.0] + 0.5) > 0.3]
    y = (x @ [1.0, -2.0] + 0.5 > 0).astype(int)
    model, _, last = perceptron(x, y)
    assert last["loss"] == 0
    assert last["accuracy"] == 1
    np.testing.assert_array_equal(model.predict(x), y)


def test_only_misclassified_points_move_the_line():
    model, trainer, _ = perceptron(np.array([[1.0, 0.0], [-1.0, 0.0]]), [1, 0])
    before = model[0].weight.data.copy(), model[0].bias.data.copy()
    trainer.step(np.array([[2.0, 0.1]]), np.array([1.0]))
    np.testing.assert_array_equal(model[0].weight.data, before[0])
    wrong = np.array([[3.0, 0.5]])
    trainer.step(wrong, np.array([0.0]))
    np.testing.assert_allclose(model[0].weight.data, before[0] - wrong)
    np.testing.assert_allclose(model[0].bias.data, before[1] - 1)


@pytest.mark.parametrize(
    ("name", "y", "separable"),
    [("and", [0, 0, 0, 1], True), ("or", [0, 1, 1, 1], True), ("xor", [0, 1, 1, 0], False)],
)
def test_perceptrons_as_gates(name, y, separable):
    x, _ = nnrs.datasets.xor()
    _, _, last = perceptron(x.astype("float64"), y)
    assert (last["loss"] == 0) is separable
    assert (last["accuracy"] == 1) is separable


def test_a_perceptron_as_not():
    _, _, last = perceptron(np.array([[0.0], [1.0]]), [1, 0])
    assert last["accuracy"] == 1


def test_xor_with_a_hidden_layer():
    x, y = nnrs.datasets.xor()
    model = nn.MLP([2, 8, 2], activation="tanh", seed=0)
    trainer = nnrs.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.1), seed=0)
    trainer.fit(x, y, epochs=100, batch_size=4)
    np.testing.assert_array_equal(model.predict(x), y)


def test_logistic_regression_finds_the_optimum():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = (x @ [1.0, -2.0, 0.5] + rng.logistic(size=200) > 0).astype(int)
    model = nn.Sequential(nn.Linear(3, 1, dtype="float64"), seed=0)
    optimizer = optim.SGD(model.parameters(), lr=1.0, momentum=0.9, nesterov=True)
    trainer = nnrs.Trainer(model, nn.BCEWithLogitsLoss(), optimizer, seed=0)
    trainer.fit(x, y, epochs=300, batch_size=200)
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(x, y)
    np.testing.assert_allclose(model[0].weight.data, reference.coef_, atol=1e-4)
    np.testing.assert_allclose(model[0].bias.data, reference.intercept_, atol=1e-4)
    np.testing.assert_allclose(model.predict_proba(x), reference.predict_proba(x), atol=1e-4)


def test_the_largest_output_names_the_class():
    x, y = nnrs.datasets.spirals(150, noise=0.0, classes=3)
    model = nn.MLP([2, 64, 3], seed=0)
    trainer = nnrs.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.03), seed=0)
    trainer.fit(x, y, epochs=60, batch_size=50)
    np.testing.assert_array_equal(model.predict(x), model.eval()(x).argmax(axis=1))
    assert np.mean(model.predict(x) == y) > 0.95


def test_regression_finds_the_line():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 2))
    y = x @ [2.0, -1.0] + 0.5
    model = nn.Sequential(nn.Standardize(), nn.Linear(2, 1), seed=0, dtype="float64")
    trainer = nnrs.Trainer(model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.05), seed=0)
    trainer.fit(x, y, epochs=60)
    assert trainer.evaluate(x, y, metrics=["r2"])["r2"] > 0.999
    np.testing.assert_allclose(model.predict(x), y, atol=0.1)


@pytest.mark.parametrize(("batch_size", "lr", "epochs"), [(1, 0.02, 10), (32, 0.1, 60), (100, 0.1, 200)])
def test_batches_of_any_size_learn(batch_size, lr, epochs):
    x, y = nnrs.datasets.moons(100, noise=0.05)
    model = nn.MLP([2, 16, 2], activation="tanh", seed=0)
    trainer = nnrs.Trainer(
        model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=lr, momentum=0.9), seed=0
    )
    history = trainer.fit(x, y, epochs=epochs, batch_size=batch_size)
    assert trainer.global_step == epochs * -(-100 // batch_size)
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"] / 2
    assert trainer.evaluate(x, y, metrics=["accuracy"])["accuracy"] > 0.85


def test_a_large_network_overfits_and_a_small_one_underfits():
    x, y = nnrs.datasets.moons(60, noise=0.4, seed=1)
    xt, xv, yt, yv = nnrs.data.train_test_split(x, y, test_size=0.5, seed=0, stratify=y)
    scores = {}
    for width, epochs in ((0, 100), (200, 500)):
        model = nn.MLP([2, *([width] if width else []), 2], seed=0)
        trainer = nnrs.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.03), seed=0)
        trainer.fit(xt, yt, epochs=epochs, batch_size=30)
        scores[width] = trainer.evaluate(xt, yt)["loss"], trainer.evaluate(xv, yv)["loss"]
    assert scores[200][0] < 0.1 < scores[0][0]
    assert scores[200][1] > 5 * scores[200][0]
    assert scores[200][1] > scores[0][1]
