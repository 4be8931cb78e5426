"""The first and last console lines of a run.

Versions and device, data, network, recipe and folder; then how long it took.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import nn

from wrimnet.config import changed_keys
from wrimnet.config.keys import TESTED_ON
from wrimnet.data.datasets.base import CrossModalityDataset
from wrimnet.engine.trainer import WRIMTrainer
from wrimnet.evaluation.provenance import describe_code
from wrimnet.run_folder import BEST, CONFIG, LOG

_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console


def build_first_line(cfg: CfgNode) -> str:
    """Says which versions run, on what, from which seed."""
    code, device = describe_code(), cfg.MODEL.DEVICE
    on = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    missing = "" if torch.cuda.is_available() else " (no CUDA device found)"
    commit = (code["commit"] or "unknown").replace("+changes", " with changes")
    return (
        f"WRIM-Net {code['wrimnet']}, commit {commit[:10]}{commit[40:]}, torch {code['torch']}, "
        f"FastReID {version('fastreid')}; {on}{missing}, {cfg.SOLVER.PRECISION}, seed {cfg.SEED}"
    )


def build_data_line(
    cfg: CfgNode, dataset: CrossModalityDataset, items: Sequence[Any], use: str
) -> str:
    """Says which images are used, and for what."""
    described = ", ".join(filter(None, (f"{dataset.name} in {dataset.folder}", dataset.stand_in)))
    identities = len({item.pid for item in items})
    return (
        f"data     {described}: {len(items)} images of {identities} identities to {use} (split "
        f"{cfg.DATASETS.SPLIT})"
    )


def build_model_line(cfg: CfgNode, model: nn.Module, start: str) -> str:
    """Says which network starts from what."""
    parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    height, width = cfg.INPUT.SIZE_TEST
    return (
        f"model    {type(model).__name__}, {parameters:.1f} M parameters, {height}x{width}, {start}"
    )


def build_start(cfg: CfgNode, iteration: int) -> str:
    """Says what the weights of a training are before its first iteration."""
    if iteration:
        return f"continuing after iteration {iteration}"
    if cfg.MODEL.WEIGHTS:
        return f"weights {cfg.MODEL.WEIGHTS}"
    return f"{'ImageNet' if cfg.MODEL.BACKBONE.PRETRAIN else 'random'} weights"


def build_recipe_line(cfg: CfgNode, trainer: WRIMTrainer, recipe: str) -> str:
    """Says how long is trained, and how far that is from the paper's recipe."""
    epochs = trainer.max_epoch
    return (
        f"recipe   {recipe}: {epochs} epoch{'s' * (epochs != 1)} of {trainer.iters_per_epoch} "
        f"iterations, {cfg.SOLVER.IMS_PER_BATCH} images each; {len(changed_keys(cfg))} keys differ "
        "from the paper's for LLCM"
    )


def build_solver_line(cfg: CfgNode, trainer: WRIMTrainer) -> str:
    """Says which optimizer, schedule and sampler train."""
    kind = type(trainer.optimizer).__name__
    optimizer = kind if kind == cfg.SOLVER.OPT else f"{cfg.SOLVER.OPT} ({kind})"
    return (
        f"solver   {optimizer}, learning rate {cfg.SOLVER.BASE_LR:g}, schedule {cfg.SOLVER.SCHED}, "
        f"sampler {cfg.DATALOADER.SAMPLER_TRAIN}"
    )


def build_output_line(cfg: CfgNode) -> str:
    """Says where what is not on the console can be read."""
    return f"output   {cfg.OUTPUT_DIR}: {LOG}, {CONFIG}"


def print_training_start(
    cfg: CfgNode, trainer: WRIMTrainer, dataset: CrossModalityDataset, recipe: str
) -> None:
    """Shows what is trained on which data, by which recipe, into what."""
    _console.info(build_data_line(cfg, dataset, dataset.train, "train on"))
    _console.info(build_model_line(cfg, trainer.model, build_start(cfg, trainer.num_trained)))
    _console.info(build_recipe_line(cfg, trainer, recipe))
    _console.info(build_solver_line(cfg, trainer))
    _console.info(build_output_line(cfg))
    for line in change_lines(trainer.origin["changes"], trainer.num_trained):
        _console.info(line)


def print_evaluation_start(cfg: CfgNode, model: nn.Module, dataset: CrossModalityDataset) -> None:
    """Shows which weights are evaluated on which data."""
    _console.info(build_data_line(cfg, dataset, dataset.test, "test on"))
    _console.info(build_model_line(cfg, model, build_start(cfg, 0)))
    _console.info(build_output_line(cfg))


def change_lines(changes: Sequence[Mapping[str, Any]], num_trained: int) -> list[str]:
    """Says which settings are others from here on."""
    return [
        f"changed  {name} from {old} to {new}, from iteration {change['first_iteration']} on"
        for change in changes
        if change["first_iteration"] > num_trained
        for name, (old, new) in change["keys"].items()
    ]


def print_end(seconds: float, best: Mapping[str, float], split: str) -> None:
    """Shows how long it took, and which evaluation was the best so far, if there was one.

    ``split`` is DATASETS.SPLIT, which says what was evaluated.
    """
    done = f"done     in {timedelta(seconds=round(seconds))}"
    if best["iteration"] < 0:
        _console.info(done)
        return
    _console.info(
        f"{done}; best mAP {100 * best['value']:.2f} after iteration {best['iteration']}: "
        f"{BEST}, selected on the {TESTED_ON[split]}"
    )


def build_next_line(cfg: CfgNode) -> str:
    """Says what can be done with a trained model."""
    return f'next     wrimnet.load("{cfg.OUTPUT_DIR}") in Python; tools: docs/using_a_model.md'
