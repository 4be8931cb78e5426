"""One training run of an experiment: its folder, its record, whether it is done."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wrimnet.atomic_files import write_file

CONSOLE_LOG = "console.log"
RECORD_FILE = "run.json"
RESULTS_FILE = "results.json"


class Run(NamedTuple):
    """One run.

    Args:
        name: unique within the experiment, such as "s1_none/seed0"; its place below the folder.
        folder: OUTPUT_DIR.
        arguments: command line of ``train_net.py``.
        config: hash of its configuration, which its results must carry.
        about: what the reports need to know of it.
    """

    name: str
    folder: Path
    arguments: tuple[str, ...]
    config: str
    about: Mapping[str, Any]


def read_results(folder: Path) -> dict[str, Any] | None:
    """Returns the results of a run, or None where there are none or only half a file."""
    try:
        content = json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return content if content.get("results") else None


def is_done(run: Run) -> bool:
    """Whether the run has complete results of its configuration.

    Raises:
        ValueError: its folder holds the results of another configuration.
    """
    results = read_results(run.folder)
    if results is None:
        return False
    found = results["description"]["config"]
    if found != run.config:
        raise ValueError(
            f"{run.folder} holds results of another configuration ({found}, this one is "
            f"{run.config}), so the settings have changed since; choose another --out"
        )
    return True


def has_checkpoint(run: Run) -> bool:
    """Whether there is something to resume from."""
    return any(run.folder.glob("checkpoint_*.pth"))


def read_record(folder: Path) -> dict[str, Any]:
    """Returns the record of a run, {} where there is none."""
    path = folder / RECORD_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_record(run: Run, attempts: Sequence[Mapping[str, Any]]) -> None:
    """Writes what the run is and how long each attempt at it took."""
    run.folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**run.about, "attempts": list(attempts)}, indent=1) + "\n"
    write_file(run.folder / RECORD_FILE, lambda file: file.write(text.encode()))
