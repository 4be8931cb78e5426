"""What the benchmarks share: their configuration, their images, the form of their reports."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from fastreid.modeling.backbones import BACKBONE_REGISTRY
from fastreid.modeling.meta_arch import META_ARCH_REGISTRY

from wrimnet.config import setup_cfg
from wrimnet.config.tree import changed_cfg
from wrimnet.engine.step import setup_pytorch
from wrimnet.lab.synthetic.generate_synthetic import generate_synthetic
from wrimnet.lab.synthetic.plan import Request
from wrimnet.modeling.wrim_net import WRIMNet

_CONFIGS = Path(__file__).resolve().parents[3] / "configs"
PAPER_CONFIG = str(_CONFIGS / "LLCM" / "wrim.yml")
_SMALL_CONFIG = str(_CONFIGS / "Synthetic" / "wrim.yml")
_NUM_CLASSES = 713  # training identities of LLCM


class Section(NamedTuple):
    """The result of one benchmark: a heading, text with tables, numbers for files."""

    heading: str
    markdown: str
    numbers: Any


def setup_benchmark_cfg(config_file: str, options: Sequence[str]) -> CfgNode:
    """Builds the configuration of a benchmark and sets PyTorch up for it, with one CPU thread.

    Args:
        config_file: YAML file; "" for LLCM's on CUDA, and for the demo's with 16 images on a CPU.
        options: ``KEY VALUE`` pairs laid over it.
    """
    words = ["MODEL.HEADS.NUM_CLASSES", str(_NUM_CLASSES), "MODEL.BACKBONE.PRETRAIN", "False"]
    if not config_file and torch.cuda.is_available():
        config_file = PAPER_CONFIG
    elif not config_file:
        config_file = _SMALL_CONFIG
        words += ["SOLVER.IMS_PER_BATCH", "16"]
    cfg = setup_cfg(config_file, (), [*words, *options])
    torch.set_num_threads(1)
    setup_pytorch(cfg)
    return cfg


def draw_training_set(cfg: CfgNode, folder: Path) -> CfgNode:
    """Draws synthetic JPEG images of 300 x 120 pixels; returns the configuration that reads them.

    There are four times the identities of a batch, each with twice its images of either modality.
    """
    batch, per_id = cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_INSTANCE
    request = Request(0, 2 * batch // per_id, 1, 2 * per_id, test_images_per_id=2)
    generate_synthetic(layout="llcm", out=folder, request=request, height=300, width=120, workers=2)
    names = {"DATASETS.NAMES": ("LLCM",), "DATASETS.ROOT": str(folder), "DATALOADER.CACHE_DIR": ""}
    return changed_cfg(cfg, names)


def describe_settings(cfg: CfgNode) -> str:
    """Returns the settings of a benchmark in a sentence."""
    height, width = cfg.INPUT.SIZE_TRAIN
    return (
        f"{network_name(cfg)}, {height} x {width}, batch "
        f"{cfg.SOLVER.IMS_PER_BATCH}, {cfg.MODEL.HEADS.NUM_CLASSES} identities, "
        f"{cfg.SOLVER.PRECISION}, {cfg.MODEL.DEVICE}."
    )


def network_name(cfg: CfgNode) -> str:
    """Names the network: ResNets by their depth, others as the configuration does."""
    backbone, network = cfg.MODEL.BACKBONE, cfg.MODEL.META_ARCHITECTURE
    if not issubclass(META_ARCH_REGISTRY.get(network), WRIMNet):
        return network
    if backbone.NAME in ("build_timm_backbone", "build_torchvision_backbone"):
        return backbone.ARCHITECTURE
    module = BACKBONE_REGISTRY.get(backbone.NAME).__module__
    if backbone.NAME == "build_resnet_backbone" or module.startswith("wrimnet."):
        return f"ResNet-{backbone.DEPTH.rstrip('x')}"
    return backbone.NAME


def with_spread(values: Sequence[float], digits: int) -> str:
    """Writes "median (min - max)"."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"
