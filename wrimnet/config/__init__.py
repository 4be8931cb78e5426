"""YACS configuration: FastReID's tree, this project's keys, reading, merging, checking."""

from wrimnet.config.check import (
    check_batch,
    check_config,
    check_fastreid_keys,
    check_num_classes,
    check_plausible,
)
from wrimnet.config.keys import ALWAYS, IF_SET, KEYS, NEVER, Key
from wrimnet.config.setup import (
    NETWORK_KEYS,
    all_keys,
    build_network_settings,
    changed_keys,
    config_hash,
    plain,
    setup_cfg,
)
from wrimnet.config.tree import add_wrim_config, get_cfg, get_key

__all__ = [
    "ALWAYS",
    "IF_SET",
    "KEYS",
    "NETWORK_KEYS",
    "NEVER",
    "Key",
    "add_wrim_config",
    "all_keys",
    "build_network_settings",
    "changed_keys",
    "check_batch",
    "check_config",
    "check_fastreid_keys",
    "check_num_classes",
    "check_plausible",
    "config_hash",
    "get_cfg",
    "get_key",
    "plain",
    "setup_cfg",
]
