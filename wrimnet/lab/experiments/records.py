"""What run folders say: the record of each run, its results, its cost. Files only."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wrimnet.config.keys import KEYS, NEVER
from wrimnet.config.merge import layer_of_words
from wrimnet.evaluation.plugin_sources import OF_PLUGINS, recorded_plugins
from wrimnet.lab.experiments.runs import ExperimentRun, changed_files, results_of_run
from wrimnet.metrics.names import metric_value
from wrimnet.run_folder import (
    COST,
    RECORD,
    compared_facts,
    read_json,
    read_metrics,
)

_ASIDE = {key.name for key in KEYS if key.hashed == NEVER}  # keys that shape no result


class Record(NamedTuple):
    """One run: what it is, results.json if complete, cost.json if there is one."""

    folder: Path
    about: dict[str, Any]
    results: dict[str, Any] | None
    cost: dict[str, Any] | None
    changed_files: Sequence[str] = ()  # of plug-ins, since the results were made

    @property
    def whole(self) -> dict[str, dict[str, Any]]:
        """Results of the whole embedding by protocol; {} without results."""
        entries = self.results["results"] if self.results else []
        return {entry["protocol"]: entry for entry in entries if entry["whole"]}

    def value(self, protocol: str, metric: str) -> float:
        """Mean over the protocol's trials, in percent.

        Raises:
            ValueError: the results have no such metric.
        """
        mean = self.whole[protocol]["mean"]
        try:
            return 100 * metric_value(mean, metric)
        except KeyError:
            known = ", ".join(["Rank-1", *(other for other in mean if other != "cmc")])
            raise ValueError(
                f"metrics of the table: {self.folder} has no {metric}; it has {known}"
            ) from None

    def of_hooks(self) -> dict[str, "Record"]:
        """The same run with the results of other weights, such as an EMA's, by name."""
        results = self.results or {}
        return {
            label: self._replace(results={**results, "results": entries, "hooks": {}})
            for label, entries in results.get("hooks", {}).items()
        }

    @property
    def start(self) -> str:
        """What the training started from: random, ImageNet or other weights."""
        return (self.results or {})["description"].get("start") or "unrecorded weights"

    @property
    def speeds(self) -> list[float]:
        """Images per second of every line of the log that says it."""
        lines = read_metrics(self.folder)
        return [line["images_per_second"] for line in lines if "images_per_second" in line]


def read_record_of(run: ExperimentRun) -> Record:
    """Reads what there is of a run; a run that has not begun gets its plan as its record.

    Raises:
        ValueError: the results are of another configuration or start than the run's.
    """
    about = read_json(run.folder / RECORD) or json.loads(json.dumps(run.about))
    results = results_of_run(run)
    changed = changed_files(run) if results is not None else ()
    return Record(run.folder, about, results, read_json(run.folder / COST), changed)


def check_comparable(records: Iterable[Record], *, but: Iterable[str] = ()) -> None:
    """Refuses finished runs that must not stand in one column; ``but`` names what may differ.

    Raises:
        ValueError: two runs differ in a protocol, the data, or the overrides; both are named.
    """
    finished = [record for record in records if record.results is not None]
    for record in finished[1:]:
        _check_alike(finished[0], record, *(_facts(r, set(but)) for r in (finished[0], record)))
    _check_same_sources(finished)


def _check_same_sources(records: Iterable[Record]) -> None:
    """Refuses two sources of one plug-in; runs without it may stand beside those with it."""
    first: dict[str, tuple[Record, dict[str, str]]] = {}
    for record in records:
        for plugin, hashes in _sources(record).items():
            other, others = first.setdefault(plugin, (record, hashes))
            _check_alike(other, record, {plugin: others}, {plugin: hashes})


def _sources(record: Record) -> dict[str, dict[str, str]]:
    """Returns the short hash of every file of each plug-in."""
    assert record.results is not None
    hashes: dict[str, dict[str, str]] = {}
    for source in recorded_plugins(record.results):
        package = source["module"].partition(".")[0]
        hashes.setdefault(f"{OF_PLUGINS}{package}", {})[source["module"]] = source["sha256"][:12]
    return hashes


def check_repeats(records: Iterable[Record], *, but: Iterable[str]) -> None:
    """Refuses runs of one row that differ in a key that shapes results, those of ``but`` aside.

    A key that one of the runs is older than is not compared.
    """
    described = [record for record in records if record.about.get("settings")]
    aside = {*_ASIDE, *but}
    for record in described[1:]:
        pair = (described[0], record)
        ours, theirs = (run.about["settings"] for run in pair)
        names = (ours.keys() & theirs.keys()) - aside
        _check_alike(*pair, *({name: values[name] for name in names} for values in (ours, theirs)))


_DECLARED = ", or give rows of the table a MODEL.WEIGHTS of their own to compare starts"


def _check_alike(one: Record, other: Record, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    for name in {**ours, **theirs}:
        if ours.get(name) != theirs.get(name):
            raise ValueError(
                f"{one.folder} and {other.folder} cannot share a table: {name} is "
                f"{ours.get(name)!r} in one, {theirs.get(name)!r} in the other; report them "
                f"separately{_DECLARED if name == 'start' else ''}"
            )


def _shaping(overrides: Sequence[str]) -> list[str]:
    """Returns the overlays of a call, and those of its keys that shape results."""
    is_key = [word.partition("=")[0].isupper() for word in overrides]
    first = is_key.index(True) if True in is_key else len(overrides)
    keys = layer_of_words(overrides[first:]).content
    shaping = [f"{name}={value}" for name, value in sorted(keys.items()) if name not in _ASIDE]
    return [*overrides[:first], *shaping]


_OF_A_PROTOCOL = ("table", "draw", "shots", "num_trials", "camera_rule", "cmc", "queries")


def _facts(record: Record, but: set[str]) -> dict[str, Any]:
    """Everything that two runs of one table must have in common."""
    assert record.results is not None
    facts = compared_facts(record.results["description"])
    facts |= {name: record.about.get(name) for name in ("dataset", "generated_data")}
    facts["overrides"] = _shaping(record.about.get("overrides") or [])
    facts["protocols"] = sorted(record.whole)
    for protocol, entry in record.whole.items():
        facts |= {f"{name} of {protocol}": entry.get(name) for name in _OF_A_PROTOCOL}
    return {name: fact for name, fact in facts.items() if name.partition(" of ")[0] not in but}
