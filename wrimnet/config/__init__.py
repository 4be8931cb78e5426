"""YACS configuration: FastReID's tree, this project's keys, reading, merging, checking."""

from wrimnet.config.check import (
    check_batch,
    check_config,
    check_fastreid_keys,
    check_num_classes,
    check_plausible,
)
from wrimnet.config.keys import KEYS, Key
from wrimnet.config.setup import changed_keys, config_hash, describe_keys, setup_cfg
from wrimnet.config.tree import add_wrim_config, get_cfg

__all__ = [
    "KEYS",
    "Key",
    "add_wrim_config",
    "changed_keys",
    "check_batch",
    "check_config",
    "check_fastreid_keys",
    "check_num_classes",
    "check_plausible",
    "config_hash",
    "describe_keys",
    "get_cfg",
    "setup_cfg",
]
