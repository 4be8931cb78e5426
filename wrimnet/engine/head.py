"""The head of a run on the console: what runs where, on which data, by which recipe, into what."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import nn

from wrimnet.config.setup import changed_keys
from wrimnet.data.build import build_dataset_folder
from wrimnet.data.datasets.base import is_synthetic
from wrimnet.data.images import ImageItem
from wrimnet.evaluation.provenance import describe_code
from wrimnet.registries import only_dataset
from wrimnet.run_folder import CONFIG, LOG


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


def build_data_line(cfg: CfgNode, items: Sequence[ImageItem], use: str) -> str:
    """Says which images are used, and for what."""
    folder, identities = build_dataset_folder(cfg), len({item.pid for item in items})
    drawn = ", generated" if is_synthetic(str(folder)) else ""
    return (
        f"data     {only_dataset(cfg.DATASETS.NAMES).title} in {folder}{drawn}: {len(items)} "
        f"images of {identities} identities to {use} (split {cfg.DATASETS.SPLIT})"
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
        return f"going on after iteration {iteration}"
    if cfg.MODEL.WEIGHTS:
        return f"weights {cfg.MODEL.WEIGHTS}"
    return f"{'ImageNet' if cfg.MODEL.BACKBONE.PRETRAIN else 'random'} weights"


def build_recipe_line(cfg: CfgNode, args: Any, iters_per_epoch: int) -> str:
    """Says how long and with which steps is trained, and how far that is from the paper's."""
    solver = cfg.SOLVER
    files = " + ".join([args.config_file, *getattr(args, "overlay", [])])
    return (
        f"recipe   {files}: {solver.MAX_EPOCH} epochs of {iters_per_epoch} iterations, "
        f"{solver.IMS_PER_BATCH} images each, {solver.OPT}, rate {solver.BASE_LR:g}; "
        f"{len(changed_keys(cfg))} keys differ from the paper's for LLCM"
    )


def build_output_line(cfg: CfgNode) -> str:
    """Says where what is not on the console can be read."""
    return f"output   {cfg.OUTPUT_DIR}: {LOG}, {CONFIG}"


def build_next_line(cfg: CfgNode) -> str:
    """Says what can be done with a trained model."""
    return f'next     wrimnet.load("{cfg.OUTPUT_DIR}") in Python; tools: docs/using_a_model.md'
