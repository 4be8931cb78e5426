"""What the training benchmarks run: the paper's recipe on a GPU, a small model on a CPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode

from wrimnet.config import setup_cfg
from wrimnet.lab.benchmarks.data_paths import IMAGES_PER_IDENTITY
from wrimnet.lab.benchmarks.timing import clock_name

_CONFIGS = Path(__file__).resolve().parents[3] / "configs"
_NUM_CLASSES = 713  # training identities of LLCM


def setup_benchmark_cfg(config_file: str, options: Sequence[str]) -> CfgNode:
    """Builds the configuration of the training benchmarks.

    Args:
        config_file: YAML file; "" for LLCM's on CUDA, and for the demo's with 16 images on a CPU.
        options: ``KEY VALUE`` pairs laid over it.
    """
    words = ["MODEL.HEADS.NUM_CLASSES", str(_NUM_CLASSES), "MODEL.BACKBONE.PRETRAIN", "False"]
    if not config_file and torch.cuda.is_available():
        config_file = str(_CONFIGS / "LLCM" / "wrim.yml")
    elif not config_file:
        config_file = str(_CONFIGS / "Synthetic" / "wrim.yml")
        words += ["SOLVER.IMS_PER_BATCH", "16", "DATALOADER.NUM_WORKERS", "1"]
    return setup_cfg(config_file, (), [*words, *options])


def setup_axes(cfg: CfgNode) -> dict[str, Any]:
    """Returns the settings along which cost is measured, around those of ``cfg``."""
    batch, (height, width) = cfg.SOLVER.IMS_PER_BATCH, cfg.INPUT.SIZE_TRAIN
    return {
        "batches": (batch, 2 * batch, 4 * batch),
        "sizes": ((height // 2, width // 2), (height, width), (2 * height, 2 * width)),
        "identities": (100, 1000, 10_000),
    }


def build_num_images(cfg: CfgNode) -> int:
    """Returns how many files to draw: four times the identities of a batch."""
    return 4 * IMAGES_PER_IDENTITY * cfg.SOLVER.IMS_PER_BATCH // (2 * cfg.DATALOADER.NUM_INSTANCE)


def build_description(cfg: CfgNode, *, by_wall: bool = False) -> str:
    """Says what ran, in a sentence, and that it was small on a CPU."""
    height, width = cfg.INPUT.SIZE_TRAIN
    clock = "wall clock" if by_wall else clock_name(torch.device(cfg.MODEL.DEVICE))
    small = "" if cfg.MODEL.DEVICE.startswith("cuda") else "Small model, because this is a CPU. "
    return (
        f"{small}ResNet-{cfg.MODEL.BACKBONE.DEPTH.rstrip('x')}, {height} x {width}, batch "
        f"{cfg.SOLVER.IMS_PER_BATCH}, {cfg.MODEL.HEADS.NUM_CLASSES} identities, "
        f"{cfg.SOLVER.PRECISION} where a row does not say otherwise; "
        f"{clock}."
    )
