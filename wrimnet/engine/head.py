"""The head of a run on the console, and what --resume may change in it.

What runs where, on which data, by which recipe, into what; and the keys that shape only what is
still to come.
"""

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import nn

from wrimnet.config.setup import changed_keys, config_hash, hashed_values, plain, setup_cfg
from wrimnet.data.build import build_dataset_folder
from wrimnet.data.datasets.base import stand_in
from wrimnet.evaluation.provenance import describe_code
from wrimnet.run_folder import CHANGES, CONFIG, FINAL, LOG, read_json, write_json

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


def build_data_line(cfg: CfgNode, items: Sequence[Any], use: str) -> str:
    """Says which images are used, and for what."""
    folder, identities = build_dataset_folder(cfg), len({item.pid for item in items})
    what = stand_in(str(folder))
    described = f"{cfg.DATASETS.NAMES[0]} in {folder}{what and ', '}{what}"
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
        return f"going on after iteration {iteration}"
    if cfg.MODEL.WEIGHTS:
        return f"weights {cfg.MODEL.WEIGHTS}"
    return f"{'ImageNet' if cfg.MODEL.BACKBONE.PRETRAIN else 'random'} weights"


def build_recipe_line(cfg: CfgNode, args: Any, iters_per_epoch: int) -> str:
    """Says how long and with which steps is trained, and how far that is from the paper's."""
    solver = cfg.SOLVER
    files = " + ".join([args.config_file, *getattr(args, "overlay", [])])
    return (
        f"recipe   {files}: {solver.MAX_EPOCH} epoch{'s' * (solver.MAX_EPOCH != 1)} of "
        f"{iters_per_epoch} iterations, "
        f"{solver.IMS_PER_BATCH} images each, {solver.OPT}, rate {solver.BASE_LR:g}; "
        f"{len(changed_keys(cfg))} keys differ from the paper's for LLCM"
    )


def build_output_line(cfg: CfgNode) -> str:
    """Says where what is not on the console can be read."""
    return f"output   {cfg.OUTPUT_DIR}: {LOG}, {CONFIG}"


CHANGEABLE = {
    "SOLVER.MAX_EPOCH",
    "SOLVER.STEPS",
    "SOLVER.BASE_LR",
    "SOLVER.GAMMA",
    "SOLVER.ETA_MIN_LR",
    "TEST.EVAL_PERIOD",
}


def setup_changes(cfg: CfgNode, found: str, iteration: int) -> None:
    """Records what differs from the configuration that the run had so far, if that may change.

    Args:
        cfg: the configuration at hand.
        found: hash of the configuration in the newest checkpoint.
        iteration: of that checkpoint.

    Raises:
        ValueError: names the keys that differ and must not, and the way that works.
    """
    path, wanted = Path(cfg.OUTPUT_DIR, CHANGES), config_hash(cfg)
    entries = read_json(path) or []
    known = any((entry["from"], entry["to"]) == (found, wanted) for entry in entries)
    if found == wanted or known:  # recorded, and ended before its next checkpoint
        return
    changes = build_changes(cfg)
    fixed = {name: pair for name, pair in changes.items() if name not in CHANGEABLE}
    if fixed or not changes:
        told = "; ".join(f"{name} is {old!r}, now {new!r}" for name, (old, new) in fixed.items())
        raise ValueError(
            f"OUTPUT_DIR = {cfg.OUTPUT_DIR!r} holds a run of another configuration: "
            f"{told or f'its hash is {found}, and no {CONFIG} there says why'}. --resume changes "
            f"only {', '.join(sorted(CHANGEABLE))}; for another run choose another OUTPUT_DIR, "
            f"from these weights with MODEL.WEIGHTS {Path(cfg.OUTPUT_DIR, FINAL)}"
        )
    entry = {"after_iteration": iteration, "from": found, "to": wanted, "keys": changes}
    write_json(path, [*entries, entry])
    for name, (old, new) in changes.items():
        _console.info("changed  %s from %s to %s, after iteration %d", name, old, new, iteration)


def build_changes(cfg: CfgNode) -> dict[str, tuple[Any, Any]]:
    """Returns old and new value of the keys that differ from the run's, none without its file."""
    file = Path(cfg.OUTPUT_DIR, CONFIG)
    if not file.is_file():
        return {}
    old = hashed_values(setup_cfg(str(file), options=["MODEL.DEVICE", cfg.MODEL.DEVICE]))
    new = hashed_values(cfg)
    names = sorted(old.keys() | new.keys())
    pairs = {name: (plain(old.get(name)), plain(new.get(name))) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def build_next_line(cfg: CfgNode) -> str:
    """Says what can be done with a trained model."""
    return f'next     wrimnet.load("{cfg.OUTPUT_DIR}") in Python; tools: docs/using_a_model.md'
