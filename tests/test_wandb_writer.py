"""examples/wandb_writer.py in W&B's offline mode: no network, and the run is what was logged."""

import pytest
from tiny_runs import make_noise_tree, read_lines, tiny_cfg

from wrimnet.engine.run import train

wandb = pytest.importorskip("wandb", reason="wandb is no dependency; pip install wandb")


def test_values_of_every_line_are_logged_and_a_resumed_run_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    logged = []
    monkeypatch.setattr(wandb.Run, "log", lambda run, values, step: logged.append((step, values)))
    make_noise_tree(tmp_path)
    keys = {"PLUGINS": "['examples.wandb_writer']", "WRITERS": "['Wandb']"}
    cfg = tiny_cfg(tmp_path, tmp_path / "out", **keys)
    assert train(cfg) == 0
    lines = read_lines(tmp_path / "out")
    assert [step for step, _ in logged] == [1, 2, 3, 4]
    for (_, values), line in zip(logged, lines, strict=True):
        assert values["total_loss"] == line["total_loss"]
    assert logged[-1][1]["llcm_ir2vis/mAP"] == 100 * lines[-1]["llcm_ir2vis/mAP"]
    assert (
        train(tiny_cfg(tmp_path, tmp_path / "out", **keys, SOLVER__MAX_EPOCH="3"), resume=True) == 0
    )
    assert [step for step, _ in logged] == [1, 2, 3, 4, 5, 6]
    identity = (tmp_path / "out" / "wandb_id.txt").read_text()
    folders = list((tmp_path / "out" / "wandb").glob("offline-run-*"))
    assert len(folders) == 2 and all(folder.name.endswith(identity) for folder in folders)
