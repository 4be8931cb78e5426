"""What run folders say: the record of each run, its results, its cost. Files only."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wrimnet.metrics.names import metric_value
from wrimnet.run_folder import COST, RECORD, find_results, read_json


class Record(NamedTuple):
    """One run folder: run.json, results.json if complete, cost.json if there is one."""

    folder: Path
    about: dict[str, Any]
    results: dict[str, Any] | None
    cost: dict[str, Any] | None

    @property
    def whole(self) -> dict[str, dict[str, Any]]:
        """Results of the whole embedding by protocol; {} without results."""
        entries = self.results["results"] if self.results else []
        return {entry["protocol"]: entry for entry in entries if entry["whole"]}

    def value(self, protocol: str, metric: str) -> float:
        """Mean over the protocol's trials, in percent."""
        return 100 * metric_value(self.whole[protocol]["mean"], metric)


def read_records(places: Sequence[str | Path]) -> list[Record]:
    """Reads every run at or below some folders, in the order of their paths.

    Raises:
        FileNotFoundError: a folder that is not there, or none that holds a run.
        ValueError: results of another configuration than the run's.
    """
    folders: set[Path] = set()
    for place in places:
        if not Path(place).is_dir():
            raise FileNotFoundError(f"{place} is no folder; give folders of run_ablations.py")
        folders |= {path.parent for path in Path(place).rglob(RECORD)}
    if not folders:
        raise FileNotFoundError(f"no run below {', '.join(map(str, places))}: no {RECORD}")
    return [_read_record(folder) for folder in sorted(folders)]


def _read_record(folder: Path) -> Record:
    about, results = read_json(folder / RECORD), find_results(folder)
    if results is not None and results["description"]["config"] != about["config"]:
        raise ValueError(
            f"{folder} holds results of configuration {results['description']['config']}, its run "
            f"is one of {about['config']}; it was written to by hand, remove it"
        )
    return Record(folder, about, results, read_json(folder / COST))


def check_comparable(records: Iterable[Record], *, but: Iterable[str] = ()) -> None:
    """Refuses finished runs that must not stand in one column; ``but`` names what may differ.

    Raises:
        ValueError: two runs differ in a protocol, the data, or the overrides; both are named.
    """
    finished = [record for record in records if record.results is not None]
    for record in finished[1:]:
        first = finished[0]
        ours, theirs = _facts(first, set(but)), _facts(record, set(but))
        for name in {**ours, **theirs}:
            if ours.get(name) != theirs.get(name):
                raise ValueError(
                    f"{first.folder} and {record.folder} cannot share a table: {name} is "
                    f"{ours.get(name)!r} in one, {theirs.get(name)!r} in the other; report them "
                    "separately"
                )


_DESCRIBED = ("dataset", "synthetic", "split", "flip", "reranking", "query_expansion")
_DESCRIBED += ("input", "precision", "metrics")
_OF_A_PROTOCOL = ("table", "draw", "shots", "num_trials", "camera_rule", "cmc", "queries")


def _facts(record: Record, but: set[str]) -> dict[str, Any]:
    """Everything that two runs of one table must have in common."""
    assert record.results is not None
    description = record.results["description"]
    facts = {name: description.get(name) for name in _DESCRIBED}
    facts |= {name: n for name, n in description.items() if name.endswith("_trial")}
    facts |= {name: record.about.get(name) for name in ("dataset", "overrides", "generated_data")}
    facts["protocols"] = sorted(record.whole)
    for protocol, entry in record.whole.items():
        facts |= {f"{name} of {protocol}": entry.get(name) for name in _OF_A_PROTOCOL}
    return {name: fact for name, fact in facts.items() if name.partition(" of ")[0] not in but}
