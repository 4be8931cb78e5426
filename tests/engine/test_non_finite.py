"""A loss that is no number any more: told in one sentence, the batch kept for replay."""

import pytest
import torch
from tiny_runs import make_noise_tree, tiny_cfg

from wrimnet.engine.progress import NonFiniteError, TrainedBatch, with_replay
from wrimnet.engine.run import train

ERROR = NonFiniteError("loss_tri", float("nan"), TrainedBatch(7, 0.25, ["a.jpg", "b.jpg"]))
BATCH = {"images": torch.arange(24, dtype=torch.uint8).view(2, 2, 2, 3), "iteration": 7}


def test_error_names_term_iteration_rate_and_images():
    assert str(ERROR) == (
        "loss_tri became nan at iteration 8, learning rate 0.25, on the images ['a.jpg', 'b.jpg']"
    )


def test_batch_is_saved_and_named(tmp_path):
    asked = []
    error = with_replay(ERROR, tmp_path, lambda iteration: asked.append(iteration) or BATCH)
    assert asked == [7]
    path = tmp_path / "replay_00000008.pth"
    assert str(error) == f"{ERROR}; the batch is saved in {path}"
    saved = torch.load(path, weights_only=True)
    assert torch.equal(saved["images"], BATCH["images"])
    assert (saved["term"], saved["learning_rate"], saved["iteration"]) == ("loss_tri", 0.25, 7)


def test_folder_that_cannot_be_written_does_not_hide_the_error(tmp_path):
    error = with_replay(ERROR, tmp_path / "missing", lambda iteration: BATCH)
    assert str(error).startswith(f"{ERROR}; the batch could not be saved: cannot write")


def test_exploding_run_stops_and_its_batch_is_that_of_the_loader(tmp_path):
    make_noise_tree(tmp_path / "data")
    cfg = tiny_cfg(
        tmp_path / "data",
        tmp_path / "out",
        SOLVER__OPT="SGD",
        SOLVER__BASE_LR="1e6",
        SOLVER__WEIGHT_DECAY="1e6",
        SOLVER__ITERS_PER_EPOCH="6",
        SOLVER__LOG_PERIOD="6",
    )
    with pytest.raises(FloatingPointError, match=r"became (nan|inf) at iteration \d") as raised:
        train(cfg)
    (path,) = (tmp_path / "out").glob("replay_*.pth")
    saved = torch.load(path, weights_only=True)
    assert str(path) in str(raised.value) and str(saved["img_paths"]) in str(raised.value)
    assert saved["learning_rate"] == 1e6
    assert f"iteration {saved['iteration'] + 1}," in str(raised.value)
    assert not list((tmp_path / "out").glob("checkpoint_*.pth")), "lost weights were saved"
