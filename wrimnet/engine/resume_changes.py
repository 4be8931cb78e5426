"""What ``--resume`` may change: keys that shape only the iterations to come, or no result.

A checkpoint holds the settings that its last iteration was trained under, and every change before.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.config import all_keys, get_key, plain
from wrimnet.config.keys import FIRST_DEFAULTS, HASHED_VALUES
from wrimnet.config.setup import hashed_values
from wrimnet.config.tree import leaf_names
from wrimnet.run_folder import FINAL

CHANGEABLE = (
    "DATALOADER.CACHE",
    "SOLVER.ACTIVATION_CHECKPOINTING",
    "SOLVER.BASE_LR",
    "SOLVER.ETA_MIN_LR",
    "SOLVER.GAMMA",
    "SOLVER.MAX_EPOCH",
    "SOLVER.STEPS",
    "TEST.EVAL_PERIOD",
)


def build_changes(cfg: CfgNode, state: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Returns the changes that the checkpoint ``state`` lists, and the one to ``cfg`` now.

    A change is {"first_iteration": counted from 1, "keys": {name: [old value, new value]}}.

    Raises:
        ValueError: a key has changed that must not.
    """
    before, now = state["settings"], plain(hashed_values(cfg))
    names = sorted(before.keys() | now.keys())
    names = [name for name in names if before.get(name) != now.get(name)]
    old = {key.name: plain(key.default) for key in all_keys(cfg)} | FIRST_DEFAULTS
    old |= {name: unhashed(name, value) for name, value in before.items()}
    new = {name: plain(get_key(cfg, name)) for name in leaf_names(cfg)}
    changed = {name: [old.get(name), new.get(name)] for name in names}
    check_changeable(changed, folder)
    entry = {"first_iteration": state["iteration"] + 1, "keys": changed}
    return [*state["changes"], entry] if changed else state["changes"]


def unhashed(name: str, value: Any) -> Any:
    """Returns the value of a key that the hash has as ``value``; "auto or never" for one of two."""
    same = [pair.split() for pair, hashed in HASHED_VALUES.items() if hashed == value]
    words = [word for key, word in same if key == name]
    return " or ".join(words) or value


def check_changeable(changed: Mapping[str, list[Any]], folder: Path) -> None:
    """Raises ValueError for keys that shaped earlier iterations."""
    fixed = {name: pair for name, pair in changed.items() if name not in CHANGEABLE}
    if fixed:
        changes = "; ".join(f"{name} is {old!r}, now {new!r}" for name, (old, new) in fixed.items())
        raise ValueError(
            f"OUTPUT_DIR = {str(folder)!r} holds a run of another configuration: {changes}. "
            f"--resume changes only {', '.join(CHANGEABLE)}; to start a new run choose another "
            f"OUTPUT_DIR, with MODEL.WEIGHTS {folder / FINAL} to start from these weights"
        )
