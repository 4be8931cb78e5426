"""The configuration tree: FastReID's with this project's keys, its leaves by dotted names."""

from collections.abc import Mapping
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.config import get_cfg as get_fastreid_cfg

from wrimnet.config.keys import KEYS


def get_cfg() -> CfgNode:
    """Returns FastReID's defaults with every key of this project, ``MODEL.DEVICE`` still "auto"."""
    cfg = get_fastreid_cfg()
    add_keys(cfg)
    return cfg


def add_wrim_config(cfg: CfgNode) -> None:
    """Adds this project's keys to a configuration of FastReID's, in place.

    ``MODEL.DEVICE`` is set to the device at hand, so that FastReID's own ``build_model(cfg)`` works
    without further setup.
    """
    add_keys(cfg)
    cfg.MODEL.DEVICE = default_device()


def add_keys(cfg: CfgNode) -> None:
    """Adds :data:`KEYS` to ``cfg``; keys that FastReID has already get this project's default."""
    for key in KEYS:
        set_key(cfg, key.name, key.default)


def default_device() -> str:
    """Returns ``"cuda"`` where PyTorch sees a CUDA device, else ``"cpu"``."""
    import torch  # slow, and a wrong key is reported without it

    return "cuda" if torch.cuda.is_available() else "cpu"


def available_devices() -> list[str]:
    """Returns the names MODEL.DEVICE may have on this machine: cpu, cuda, cuda:0, cuda:1, ..."""
    import torch

    numbered = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["cpu", "cuda", *numbered] if numbered else ["cpu"]


def set_key(cfg: CfgNode, name: str, value: object) -> None:
    """Sets the dotted key ``name``, creating the nodes on the way."""
    *parents, leaf = name.split(".")
    node = cfg
    for parent in parents:
        if parent not in node:
            node[parent] = CfgNode()
        node = node[parent]
    node[leaf] = value


def changed_cfg(cfg: CfgNode, values: Mapping[str, object]) -> CfgNode:
    """Returns a frozen copy of ``cfg`` with other values by dotted key."""
    copy = cfg.clone()
    copy.defrost()
    for name, value in values.items():
        set_key(copy, name, value)
    copy.freeze()
    return copy


def get_key(cfg: CfgNode, name: str) -> Any:
    """Returns the value at the dotted key ``name``; KeyError where there is no such key."""
    node = cfg
    for part in name.split("."):
        node = node[part]
    return node


def leaf_names(cfg: CfgNode, prefix: str = "") -> list[str]:
    """Returns the dotted names of all leaves of ``cfg``."""
    names: list[str] = []
    for name, value in cfg.items():
        is_node = isinstance(value, dict)
        names += leaf_names(value, f"{prefix}{name}.") if is_node else [prefix + name]
    return names
