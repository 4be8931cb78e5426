"""From files and command-line words to one checked, frozen configuration."""

import hashlib
import json
from collections.abc import Sequence

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.config.check import check_config
from wrimnet.config.defaults import (
    available_devices,
    default_device,
    get_cfg,
    get_key,
    leaf_names,
)
from wrimnet.config.keys import KEYS
from wrimnet.config.merge import merge_nested, merge_options
from wrimnet.config.yaml_files import read_config_file, read_overlay_file

# where and how a run happens, not what it computes
_NOT_HASHED = {
    "OUTPUT_DIR",
    "MODEL.DEVICE",
    "MODEL.WEIGHTS",
    "MODEL.HEADS.NUM_CLASSES",  # 0 until the dataset's identities are counted
    "MODEL.BACKBONE.PRETRAIN_PATH",
    "DATASETS.ROOT",
    "DATALOADER.CACHE_DIR",
    "DATALOADER.NUM_WORKERS",
    "DATALOADER.PREFETCH",
    "DATALOADER.TIMEOUT",
    "SOLVER.LOG_PERIOD",
    "SOLVER.CHECKPOINT_PERIOD",
    "SOLVER.CHECKPOINT_ITERS",
    "SOLVER.CHECKPOINT_MINUTES",
    "SOLVER.KEEP_CHECKPOINTS",
    "SOLVER.DISTRIBUTED.TIMEOUT_SECONDS",
    "TEST.PERM_FILE",
    "TEST.MEMORY_GB",
    "TEST.EXPECTED_RESULTS",
}


def setup_cfg(
    config_file: str, overlays: Sequence[str] = (), options: Sequence[str] = ()
) -> CfgNode:
    """Builds the configuration of a run.

    Args:
        config_file: YAML file; "" for the defaults.
        overlays: YAML files laid over it, in order.
        options: ``KEY VALUE`` pairs laid over everything.

    Returns:
        The frozen configuration, its device resolved and its rules checked.

    Raises:
        KeyError, ValueError, FileNotFoundError: see :mod:`wrimnet.config.merge` and ``check``.
    """
    cfg = get_cfg()
    if config_file:
        merge_nested(cfg, read_config_file(config_file), config_file)
    for overlay in overlays:
        merge_nested(cfg, read_overlay_file(overlay), overlay)
    merge_options(cfg, options)
    setup_device(cfg)
    check_config(cfg)
    cfg.freeze()
    return cfg


def setup_device(cfg: CfgNode) -> None:
    """Resolves MODEL.DEVICE "auto", and runs in fp32 on CPUs, which do bf16 in software.

    Raises:
        ValueError: MODEL.DEVICE names no device, or one that is not there.
    """
    if cfg.MODEL.DEVICE == "auto":
        cfg.MODEL.DEVICE = default_device()
    if cfg.MODEL.DEVICE not in available_devices():
        raise ValueError(
            f"MODEL.DEVICE = {cfg.MODEL.DEVICE!r}: expected auto or one of {available_devices()}"
        )
    if cfg.MODEL.DEVICE == "cpu":
        cfg.SOLVER.PRECISION = "fp32"


def config_hash(cfg: CfgNode) -> str:
    """Returns 12 hex digits over every key that shapes the result of a run."""
    names = sorted(set(leaf_names(cfg)) - _NOT_HASHED)
    content = json.dumps([[name, get_key(cfg, name)] for name in names], default=list)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def describe_keys() -> str:
    """Returns one line per key: name, default and meaning, as printed by ``--help-config``."""
    lines = []
    for key in KEYS:
        choices = f" [{' | '.join(map(str, key.choices))}]" if key.choices else ""
        lines.append(f"{key.name} = {key.default!r}\n    {key.meaning}{choices}")
    return "\n".join(lines)
