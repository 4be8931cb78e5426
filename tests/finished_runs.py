"""The folder of a finished run without any training: the files that the tools read."""

import json
import math
from pathlib import Path
from typing import NamedTuple

import torch
from tiny_runs import make_noise_tree, tiny_cfg

from wrimnet.config.setup import build_network_settings
from wrimnet.data.build import build_dataset
from wrimnet.evaluation.evaluator import build_evaluator
from wrimnet.modeling.weights import build_model


class FinishedRun(NamedTuple):
    """A workspace as the documentation has it: ``logs/Synthetic/wrim``, ``datasets/synthetic``."""

    workspace: Path
    run: Path
    data: Path


def make_finished_run(workspace: Path) -> FinishedRun:
    root, run = workspace / "datasets" / "synthetic", workspace / "logs" / "Synthetic" / "wrim"
    folder = make_noise_tree(root)
    (folder / "synthetic.json").write_text("{}")
    run.mkdir(parents=True)
    cfg = tiny_cfg(root, run, MODEL__HEADS__NUM_CLASSES="5")
    (run / "config.yaml").write_text(cfg.dump())
    torch.manual_seed(1)  # not what SEED = 0 gives: else trained and untrained are alike
    model = build_model(cfg)
    state = {"model": model.state_dict(), "iteration": 4, "network": build_network_settings(cfg)}
    torch.save(state, run / "model_final.pth")
    dataset = build_dataset(cfg)
    evaluator = build_evaluator(cfg, dataset)
    evaluator.run(model.eval(), str(run / "model_final.pth")).write(run)
    lines = [
        {"iteration": i, "total_loss": 9 / i, "raw/cls": math.log(5), "lr": 3.5e-4}
        for i in (1, 2, 3, 4)
    ]
    lines[-1]["llcm_ir2vis/mAP"] = 0.25
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "metrics.jsonl").write_text(text)
    return FinishedRun(workspace, run, folder)
