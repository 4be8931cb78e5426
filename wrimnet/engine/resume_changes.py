"""What ``--resume`` may change: keys that shape only the iterations to come, or no result.

A checkpoint holds the settings that its last iteration was trained under, and every change before.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def build_changes(
    settings: Mapping[str, Any], state: Mapping[str, Any], folder: Path
) -> list[dict[str, Any]]:
    """Returns the changes that the checkpoint ``state`` lists, and the one to ``settings`` now.

    A change is {"first_iteration": counted from 1, "keys": {name: [old value, new value]}}.

    Raises:
        ValueError: a key has changed that must not.
    """
    before = state["settings"]
    names = sorted(before.keys() | settings.keys())
    pairs = {name: [before.get(name), settings.get(name)] for name in names}
    changed = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    check_changeable(changed, folder)
    entry = {"first_iteration": state["iteration"] + 1, "keys": changed}
    return [*state["changes"], entry] if changed else state["changes"]


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
