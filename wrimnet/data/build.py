"""From a configuration to the dataset it names."""

import os

import wrimnet.compat

from fastreid.config import CfgNode
from fastreid.data.datasets import DATASET_REGISTRY

import wrimnet.data.datasets  # noqa: F401  (registers the datasets)
from wrimnet.data.datasets.base import CrossModalityDataset

DATASETS = ("LLCM", "RegDB", "SYSU_MM01")


def build_dataset(cfg: CfgNode) -> CrossModalityDataset:
    """Reads the dataset that DATASETS.NAMES names.

    Its folder lies in DATASETS.ROOT, else in the environment's FASTREID_DATASETS, else in
    "datasets" of the working folder.

    Raises:
        ValueError: DATASETS.NAMES is not exactly one of ours.
        FileNotFoundError: the dataset's folder, or a part of it, does not exist.
    """
    names = tuple(cfg.DATASETS.NAMES)
    if len(names) != 1 or names[0] not in DATASETS:
        raise ValueError(
            f"DATASETS.NAMES is {names}; name exactly one of {', '.join(DATASETS)}, "
            'such as ("LLCM",)'
        )
    root = cfg.DATASETS.ROOT or os.environ.get("FASTREID_DATASETS") or "datasets"
    trial = {"trial": cfg.DATASETS.REGDB_TRIAL} if names[0] == "RegDB" else {}
    return DATASET_REGISTRY.get(names[0])(root=root, split=cfg.DATASETS.SPLIT, **trial)
