"""What an evaluation found, in every form it is read: numbers, lines, a table, files.

The report holds everything that its numbers depend on; each form is made from it alone.
"""

import csv
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from wrimnet.data.datasets.base import DRAWN
from wrimnet.data.protocols import Protocol, all_protocols
from wrimnet.metrics.ranking import RankingMetrics
from wrimnet.run_folder import RESULTS, RESULTS_TABLE, write_json
from wrimnet.tables import counted, markdown_rows

RANKS = (1, 5, 10, 20)
METRIC_NAMES = (*(f"Rank-{rank}" for rank in RANKS), "mAP", "mINP")


@dataclass(frozen=True)
class ProtocolResult:
    """One protocol on one selection of embedding parts."""

    protocol: Protocol  # as it was run
    draw: str  # "" where the protocol has none
    parts: tuple[str, ...]  # groups of the embedding, in order
    whole: bool  # these are the parts that the configuration selects
    trials: Sequence[RankingMetrics]

    def mean(self) -> dict[str, float]:
        """Mean over the trials of each metric, as fractions."""
        values = np.array([list(trial_metrics(trial).values()) for trial in self.trials])
        return dict(zip(METRIC_NAMES, values.mean(axis=0).tolist(), strict=True))

    def describe(self) -> dict[str, Any]:
        """The protocol as it was run, for files."""
        protocol = self.protocol
        return {
            "protocol": protocol.name,
            "table": protocol.table,
            "direction": protocol.direction,
            "draw": self.draw,
            "shots": protocol.shots,
            "num_trials": len(self.trials),
            "camera_rule": protocol.camera_rule,
            "cmc": "identities" if protocol.unique_ids else "images",
            "queries": [trial.num_queries for trial in self.trials],
            "queries_skipped": [trial.num_skipped for trial in self.trials],
        }

    def numbers(self) -> dict[str, Any]:
        """Mean, standard deviation and every trial in full precision, for files."""
        trials = [_trial_numbers(trial) for trial in self.trials]
        columns = {name: np.array([trial[name] for trial in trials]) for name in trials[0]}
        return {
            "mean": {name: values.mean(axis=0).tolist() for name, values in columns.items()},
            "std": {name: values.std(axis=0).tolist() for name, values in columns.items()},
            "trials": trials,
        }

    def entry(self) -> dict[str, Any]:
        """All of it, as results.json has it."""
        words = {"parts": list(self.parts), "whole": self.whole}
        return {**self.describe(), **words, **self.numbers()}


def trial_metrics(trial: RankingMetrics) -> dict[str, float]:
    """The printed metrics of one trial, as fractions."""
    return _named_metrics(_trial_numbers(trial))


def _trial_numbers(trial: RankingMetrics) -> dict[str, Any]:
    """The whole curve (20 values), mAP and mINP of one trial."""
    return {
        "cmc": [float(value) for value in trial.cmc],
        "mAP": trial.mean_average_precision,
        "mINP": trial.mean_inverse_negative_penalty,
    }


class EvaluationReport:
    """Every protocol on the whole embedding and each of its groups, and what it depends on."""

    def __init__(self, description: Mapping[str, Any], results: list[ProtocolResult]) -> None:
        self.description = dict(description)
        self.results = results

    @property
    def metrics(self) -> OrderedDict[str, dict[str, float]]:
        """Mean metrics of the whole embedding per protocol, as fractions."""
        return OrderedDict((r.protocol.name, r.mean()) for r in self.results if r.whole)

    def lines(self) -> list[str]:
        """One line per result that says what was measured and how."""
        return [_line(self.description, result.entry()) for result in self.results]

    def content(self) -> dict[str, Any]:
        """What results.json holds."""
        results = [result.entry() for result in self.results]
        return {"description": self.description, "results": results}

    def summary(self) -> str:
        """The whole embedding's numbers in percent, aligned."""
        header = ("", "direction", "queries", "unmatched", *METRIC_NAMES)
        rows = [_summary_row(result) for result in self._whole()]
        alignment = ("left", "left", *("right",) * (len(header) - 2))
        return tabulate(rows, header, "plain", disable_numparse=True, colalign=alignment)

    def measured(self) -> str:
        """How these numbers were measured, each way once."""
        lines = dict.fromkeys(f"percent, {_way(result)}" for result in self._whole())
        return "\n".join(lines)

    def _whole(self) -> list[dict[str, Any]]:
        return [result.entry() for result in self.results if result.whole]

    def markdown(self) -> str:
        """A table in percent for each kind of protocol, the whole embedding first."""
        return "\n\n".join(
            table.heading + "\n\n" * bool(table.heading)
            + markdown_rows(table.header, table.rows, num_words=3)
            for table in result_tables(self.content())
        )  # fmt: skip

    def write(self, output_dir: str | Path) -> None:
        """Writes results.json and results.csv with every trial, mean and standard deviation."""
        folder, content = Path(output_dir), self.content()
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RESULTS, content)
        with open(folder / RESULTS_TABLE, "w", newline="") as file:
            csv.writer(file).writerows(_csv_rows(content["results"]))


def _csv_rows(results: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    named = ("protocol", "table", "draw", "parts", "whole")
    rows: list[list[Any]] = [[*named, "trial", "queries", "queries_skipped", *METRIC_NAMES]]
    for result in results:
        name = [*(result[key] for key in named[:3]), "+".join(result["parts"]), result["whole"]]
        counts = zip(result["queries"], result["queries_skipped"], result["trials"], strict=True)
        for number, (queries, skipped, trial) in enumerate(counts):
            rows.append([*name, number, queries, skipped, *_named_metrics(trial).values()])
        for words in ("mean", "std"):
            rows.append([*name, words, "", "", *_named_metrics(result[words]).values()])
    return rows


def mean_metrics(content: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Returns the ``metrics`` of the report whose results.json has this content."""
    return {
        entry["protocol"]: _named_metrics(entry["mean"])
        for entry in content["results"]
        if entry["whole"]
    }


class ResultTable(NamedTuple):
    """A table of results.json for people, with the lines that say how each row was measured."""

    heading: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    lines: list[str]


def result_tables(content: Mapping[str, Any]) -> list[ResultTable]:
    """Writes the content of results.json as tables in percent, one per kind of protocol."""
    header = ("protocol", "direction", "embedding", "queries", "unmatched", *METRIC_NAMES)
    tables = []
    for name in dict.fromkeys(result["table"] for result in content["results"]):
        results = [result for result in content["results"] if result["table"] == name]
        heading = "" if name == "main" else f"A protocol of its own, not comparable ({name})"
        lines = dict.fromkeys(_protocol_line(result) for result in results)
        tables.append(ResultTable(heading, header, [_result_row(r) for r in results], [*lines]))
    return tables


def _result_row(result: Mapping[str, Any]) -> tuple[str, ...]:
    parts = "+".join(result["parts"]) + ("" if result["whole"] else " (alone)")
    return (result["protocol"], result["direction"], parts, *_counts(result), *_percent(result))


def _protocol_line(result: Mapping[str, Any]) -> str:
    queries, skipped = result["queries"], max(result["queries_skipped"])
    return (
        f"{result['protocol']}: {result['direction']}, {_way(result)}, {_one_or_range(queries)} "
        f"queries, at most {skipped} without a match. Percent, mean ± standard deviation."
    )


def _way(result: Mapping[str, Any]) -> str:
    """How the trials were made."""
    draw = f"gallery draw {result['draw']}, {result['shots']} per identity and camera, "
    return (
        f"{draw if result['draw'] else ''}{counted(result['num_trials'], 'trial')}, camera rule "
        f"{result['camera_rule']}, CMC counts {result['cmc']}"
    )


def _summary_row(result: Mapping[str, Any]) -> tuple[str, ...]:
    return (result["protocol"], result["direction"], *_counts(result), *_percent(result))


def _counts(result: Mapping[str, Any]) -> list[str]:
    return [_one_or_range(result[name]) for name in ("queries", "queries_skipped")]


def _named_metrics(mean: Mapping[str, Any]) -> dict[str, float]:
    ranks = [mean["cmc"][rank - 1] for rank in RANKS]
    return dict(zip(METRIC_NAMES, (*ranks, mean["mAP"], mean["mINP"]), strict=True))


def _percent(result: Mapping[str, Any]) -> list[str]:
    """Each metric in percent, with its deviation where there are several trials."""
    mean, std = (_named_metrics(result[name]).values() for name in ("mean", "std"))
    if result["num_trials"] == 1:
        return [f"{100 * value:.2f}" for value in mean]
    return [f"{100 * m:.2f} ± {100 * s:.2f}" for m, s in zip(mean, std, strict=True)]


_NOT_IN_LINE = {"table", "parts", "whole", "mean", "std", "trials"}


def _line(description: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    facts = {
        "dataset": description.get("dataset"),
        **{name: value for name, value in result.items() if name not in _NOT_IN_LINE},
        "embedding": "+".join(result["parts"]),
        **{name: value for name, value in description.items() if name != "dataset"},
    }
    for name in ("queries", "queries_skipped"):
        facts[name] = _one_or_range(facts[name])
    said = ", ".join(f"{name}={_plain(value)}" for name, value in facts.items())
    values = zip(METRIC_NAMES, _percent(result), strict=True)
    return f"{'  '.join(' '.join(pair) for pair in values)}  ({said})"


def _one_or_range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "/".join(f"{name}:{_plain(entry)}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        return "+".join(str(entry) for entry in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)


def check_expected(
    metrics: Mapping[str, Mapping[str, float]], expected: Sequence[Sequence[Any]]
) -> list[str]:
    """Lists, in a sentence each, the expectations that the mean metrics do not meet.

    Raises:
        ValueError: an entry is malformed, or names a protocol that was not run.
    """
    failures = []
    for entry in expected:
        protocol, metric, value, tolerance = check_entry(entry, metrics)
        found = metrics[protocol][metric]
        off = abs(found - value) - tolerance
        if not off <= 0:
            failures.append(
                f"{protocol} {metric} is {found:.6f}, expected {value:.6f} ± {tolerance:.6f}: "
                f"{'below' if found < value else 'above'} the range by {off:.6f}"
            )
    return failures


def check_entry(entry: Sequence[Any], protocols: Collection[str]) -> tuple[str, str, float, float]:
    """Returns one entry of TEST.EXPECTED_RESULTS; ValueError for a malformed or foreign one."""
    form = "[protocol, metric, value, tolerance] with value and tolerance as fractions"
    if not isinstance(entry, (list, tuple)) or len(entry) != 4:
        raise ValueError(f"TEST.EXPECTED_RESULTS entry {entry!r}: expected {form}")
    protocol, metric, value, tolerance = entry
    if not isinstance(protocol, str) or protocol not in all_protocols():
        raise ValueError(
            f"TEST.EXPECTED_RESULTS names {protocol!r}; choose from {list(all_protocols())}"
        )
    if not isinstance(metric, str) or metric not in METRIC_NAMES:
        raise ValueError(f"TEST.EXPECTED_RESULTS names {metric!r}; choose from {METRIC_NAMES}")
    if protocol not in protocols:
        raise ValueError(
            f"TEST.EXPECTED_RESULTS expects {protocol}, this run has {list(protocols)}; "
            "add it to TEST.PROTOCOLS or remove the expectation"
        )
    if not all(type(number) in (int, float) for number in (value, tolerance)):
        raise ValueError(f"TEST.EXPECTED_RESULTS entry {list(entry)}: expected {form}")
    value, tolerance = float(value), float(tolerance)
    if not (0 <= value <= 1 and 0 <= tolerance <= 1):
        raise ValueError(f"TEST.EXPECTED_RESULTS entry {list(entry)}: expected {form}, in [0, 1]")
    return protocol, metric, value, tolerance


def describe_stand_in(description: Mapping[str, Any]) -> str:
    """Says what a result was measured on instead of the dataset's own images, "" for them."""
    return description.get("stand_in") or (DRAWN if description["synthetic"] else "")
