"""The plain loop computes what the trainer computes."""

from contextlib import ExitStack
from itertools import islice

import pytest
import torch
from plain_train_net import check_supported, start, train_and_test
from tiny_runs import read_lines, tiny_cfg

from wrimnet.data.build import build_dataset
from wrimnet.engine.run import start_training
from wrimnet.engine.signals import StopRequest


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Output folder and weights of the trainer after four iterations."""
    output = tmp_path_factory.mktemp("trainer")
    with ExitStack() as held, StopRequest() as request:
        cfg = tiny_cfg(data, output / "run")
        trainer = start_training(cfg, held, request, (), resume=False, recipe="")
        trainer.train()
    return output / "run", trainer.model.state_dict()


def test_first_iterations_are_those_of_the_trainer_bit_for_bit(trained, data, tmp_path):
    output, weights = trained
    cfg = tiny_cfg(data, tmp_path / "plain")
    model, steps = start(cfg, build_dataset(cfg))
    for line, losses in zip(read_lines(output), islice(steps, 4), strict=True):
        assert float(sum(losses.values())) == line["total_loss"]
    steps.close()
    ours = model.state_dict()
    assert ours.keys() == weights.keys()
    assert all(torch.equal(ours[name], weights[name]) for name in weights)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL__WEIGHTS", "start.pth"),
        ("SOLVER__CLIP_GRADIENTS__ENABLED", "True"),
        ("SOLVER__ACCUMULATION_STEPS", "2"),
        ("INPUT__INFRARED_RANGE", "auto"),
    ],
)
def test_keys_that_it_does_not_read_are_refused(tmp_path, key, value):
    name = key.replace("__", ".")
    with pytest.raises(ValueError, match=rf"does not read {name}.*; use tools/train_net.py"):
        check_supported(tiny_cfg(tmp_path, tmp_path, SOLVER__IMS_PER_BATCH="16", **{key: value}))


def test_its_weights_are_saved_and_scored(trained, data, tmp_path, capsys):
    cfg = tiny_cfg(data, tmp_path / "plain")
    train_and_test(cfg, tmp_path / "plain" / "model_final.pth")
    saved = torch.load(tmp_path / "plain" / "model_final.pth", weights_only=True)["model"]
    _, weights = trained
    assert all(torch.equal(saved[name], weights[name]) for name in weights)
    printed = capsys.readouterr().out
    assert "iteration 4 of 4" in printed
    assert "llcm_ir2vis" in printed
