"""What ``--resume`` may change in a run: keys that shape only what is still to come."""

from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.config.setup import config_hash, hashed_values, setup_cfg
from wrimnet.console import say
from wrimnet.run_folder import CHANGES, CONFIG, FINAL, read_json, write_json

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
        say(f"changed  {name} from {old} to {new}, after iteration {iteration} ({CHANGES})")


def build_changes(cfg: CfgNode) -> dict[str, tuple[Any, Any]]:
    """Returns old and new value of the keys that differ from the run's, none without its file."""
    file = Path(cfg.OUTPUT_DIR, CONFIG)
    if not file.is_file():
        return {}
    old = hashed_values(setup_cfg(str(file), options=["MODEL.DEVICE", cfg.MODEL.DEVICE]))
    new = hashed_values(cfg)
    names = sorted(old.keys() | new.keys())
    pairs = {name: (_plain(old.get(name)), _plain(new.get(name))) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
