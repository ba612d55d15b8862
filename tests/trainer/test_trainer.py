import numpy as np
import pytest

import nnrs
from nnrs import nn, optim
from nnrs.callbacks import LambdaCallback


def test_modes_are_restored(table, network, trainer_of):
    x, y = table()
    for training in (True, False):
        trainer = trainer_of(network(0.5).train(training))
        trainer.model[2].train(not training)
        modes = [module.training for module in trainer.model.modules()]
        trainer.fit(x, y, epochs=1, validation_split=0.2)
        trainer.step(x, y)
        trainer.evaluate(x, y)
        assert [module.training for module in trainer.model.modules()] == modes


def test_a_layer_frozen_in_between_stays(table, trainer_of):
    x, y = table()
    trainer = trainer_of()
    first = trainer.model[0].weight

    def freeze(trainer, logs):
        first.requires_grad = logs["epoch"] < 2

    kept = []
    hook = LambdaCallback(on_epoch_begin=freeze, on_epoch_end=lambda *_: kept.append(first.data.copy()))
    trainer.fit(x, y, epochs=3, callbacks=[hook])
    np.testing.assert_array_equal(kept[0], kept[2])
    trainer.step(x, y)
    np.testing.assert_array_equal(first.data, kept[0])
    first.requires_grad = True
    trainer.step(x, y)
    assert not np.array_equal(first.data, kept[0])
    assert trainer.global_step == 3 * 2 + 2


def test_settings_of_the_optimiser_take_effect_at_once(table, trainer_of, parameters):
    x, y = table()
    trainer = trainer_of(kind=optim.SGD)
    trainer.step(x, y)
    before = parameters(trainer)
    trainer.optimizer.param_groups[0]["lr"] = 0.0
    trainer.step(x, y)
    trainer.fit(x, y, epochs=1)
    np.testing.assert_equal(parameters(trainer), before)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda _, o: nnrs.Trainer(print, nn.MSELoss(), o), TypeError, "model must be an nn.Module"),
        (lambda m, o: nnrs.Trainer(m, nn.MSELoss, o), TypeError, "the class MSELoss; give an object"),
        (lambda m, o: nnrs.Trainer(m, print, o), TypeError, "loss must have value_and_grad"),
        (lambda m, _: nnrs.Trainer(m, nn.MSELoss(), optim.SGD), TypeError, "the class SGD; give an object"),
        (lambda m, _: nnrs.Trainer(m, nn.MSELoss(), 0.1), TypeError, "optimizer must have step"),
        (
            lambda m, o: nnrs.Trainer(m, nn.MSELoss(), o, device="tpu"),
            ValueError,
            "device must be one of 'cpu', got 'tpu'",
        ),
        (
            lambda m, o: nnrs.Trainer(m, nn.MSELoss(), o, clip_grad_norm=0),
            ValueError,
            "clip_grad_norm must be",
        ),
        (
            lambda m, o: nnrs.Trainer(m, nn.MSELoss(), o, clip_grad_value=-1),
            ValueError,
            "clip_grad_value must be",
        ),
        (lambda m, o: nnrs.Trainer(m, nn.MSELoss(), o, seed=1.5), TypeError, "seed must be an int"),
        (lambda m, o: nnrs.Trainer(m, nn.MSELoss(), o, accumulate=2), TypeError, "accumulate"),
    ],
)
def test_wrong_arguments(make, error, message, network):
    model = network()
    with pytest.raises(error, match=message):
        make(model, optim.SGD(model.parameters(), lr=0.1))


@pytest.mark.parametrize(
    ("layer", "loss"), [(nn.Softmax, nn.CrossEntropyLoss), (nn.Sigmoid, nn.BCEWithLogitsLoss)]
)
def test_what_the_loss_applies_itself_is_refused(layer, loss, trainer_of):
    model = nn.Sequential(nn.Linear(5, 3), layer())
    with pytest.raises(ValueError, match=f"ends in {layer.__name__}.*leave the {layer.__name__} layer out"):
        trainer_of(model, loss())


def test_the_bar_is_drawn_on_demand_only(capsys, table, trainer_of):
    x, y = table()
    trainer_of().fit(x, y, epochs=1)
    assert capsys.readouterr() == ("", "")
    trainer_of().fit(x, y, epochs=2, validation_split=0.2, metrics=["accuracy"], progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 2/2 |##########| loss" in err
    assert "val_accuracy" in err
    assert err.endswith("\n")
    trainer_of().fit([(x, y)], epochs=1, progress=True)
    assert "epoch 1/1" in capsys.readouterr().err
