"""Runs that plug-ins of another source have trained: found, and set aside before a new training."""

from collections.abc import Iterable
from pathlib import Path

from wrimnet.atomic_files import sole_writer
from wrimnet.evaluation.plugin_sources import Source, changed_plugins, recorded_plugins
from wrimnet.run_folder import JOB, RECORD, RESULTS, find_results, read_json

REPLACED = "replaced"  # folders in a run's: replaced1, replaced2, ...


def find_changed(folder: Path, now: Iterable[Source]) -> list[str]:
    """Returns the files of plug-ins whose source has changed since a run was trained.

    The results say of which sources they are; the record says it of a run without results.
    """
    results = find_results(folder)
    if results is not None:
        return changed_plugins(recorded_plugins(results), now)
    record = read_json(folder / RECORD) or {}
    return changed_plugins(record["plugins"], now) if "plugins" in record else []


def set_aside(folder: Path) -> None:
    """Moves the files of a run to a folder of their own inside it.

    The files that say of which sources they are go last: after an interruption the next call
    finds the rest.

    Raises:
        BlockingIOError: a training is at work in the folder.
    """
    with sole_writer(folder, "wait for it, then run the same command again"):
        others = {path.name: path for path in folder.iterdir() if not _stays(path.name)}
        last = [others.pop(name) for name in (RECORD, RESULTS) if name in others]
        numbers = range(1, 2 + sum(1 for _ in folder.glob(f"{REPLACED}*")))
        target = next(path for n in numbers if not (path := folder / f"{REPLACED}{n}").exists())
        target.mkdir()
        for path in (*others.values(), *last):
            path.rename(target / path.name)


def _stays(name: str) -> bool:
    """Whether a file belongs to the folder: locks, the job on a cluster, earlier trainings."""
    return name.startswith((".", REPLACED)) or name == JOB
