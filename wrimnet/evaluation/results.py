"""What an evaluation found, in every form it is read: numbers, lines, a table, files.

The report holds everything that its numbers depend on; each form is made from it alone.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from wrimnet.data.datasets.base import DRAWN
from wrimnet.data.protocols import Protocol, all_protocols
from wrimnet.evaluation.query_values import QueryValues
from wrimnet.metrics.names import PRINTED, named_values
from wrimnet.metrics.ranking import RankingMetrics
from wrimnet.run_folder import RESULTS, RESULTS_TABLE, query_file, write_csv, write_json
from wrimnet.tables import counted, markdown_rows


@dataclass(frozen=True)
class ProtocolResult:
    """One protocol on one selection of embedding parts."""

    protocol: Protocol  # as it was run
    draw: str  # "" where the protocol has none
    parts: tuple[str, ...]  # groups of the embedding, in order
    whole: bool  # these are the parts that the configuration selects
    trials: Sequence[RankingMetrics]
    metrics: tuple[str, ...] = PRINTED  # names of those that are printed
    queries: QueryValues | None = None  # of every query, where they were asked for

    def mean(self) -> dict[str, float]:
        """Mean over the trials of each metric, as fractions."""
        values = [[*trial_metrics(trial, self.metrics).values()] for trial in self.trials]
        return dict(zip(self.metrics, np.mean(values, axis=0).tolist(), strict=True))

    def describe(self) -> dict[str, Any]:
        """The protocol as it was run, for files."""
        protocol = self.protocol
        return {
            "protocol": protocol.name,
            "table": protocol.table,
            "direction": protocol.direction,
            **_described_lists(protocol),
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


def _described_lists(protocol: Protocol) -> dict[str, str]:
    named = {"query_list": protocol.query_list, "gallery_list": protocol.gallery_list}
    return {side: name for side, name in named.items() if name}


def trial_metrics(trial: RankingMetrics, names: Sequence[str] = PRINTED) -> dict[str, float]:
    """Metrics of one trial by name, as fractions."""
    return named_values(_trial_numbers(trial), names)


def _trial_numbers(trial: RankingMetrics) -> dict[str, Any]:
    """The whole curve (20 values), mAP, mINP and the registered metrics of one trial."""
    return {
        "cmc": [float(value) for value in trial.cmc],
        "mAP": trial.mean_average_precision,
        "mINP": trial.mean_inverse_negative_penalty,
        **trial.registered,
    }


def printed_metrics(description: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the names in the tables of a result; it names them where they are not the default."""
    return tuple(description.get("metrics", PRINTED))


def describe_metrics(names: Sequence[str]) -> dict[str, list[str]]:
    """Returns the entry of a description that :func:`printed_metrics` reads."""
    return {} if tuple(names) == PRINTED else {"metrics": list(names)}


class EvaluationReport:
    """Every protocol on the whole embedding and each of its groups, and what it depends on."""

    def __init__(self, description: Mapping[str, Any], results: list[ProtocolResult]) -> None:
        self.description = dict(description)
        self.results = results
        self.of_hooks: dict[str, EvaluationReport] = {}  # of other weights, by the hook's label

    @property
    def metrics(self) -> OrderedDict[str, dict[str, float]]:
        """Mean metrics of the whole embedding per protocol, as fractions."""
        return OrderedDict((r.protocol.name, r.mean()) for r in self.results if r.whole)

    def logged(self, weights: str = "") -> dict[str, float]:
        """The metrics as the log names them: PROTOCOL/METRIC, or PROTOCOL (WEIGHTS)/METRIC."""
        of = f" ({weights})" if weights else ""
        return {
            f"{protocol}{of}/{metric}": value
            for protocol, metrics in self.metrics.items()
            for metric, value in metrics.items()
        }

    def lines(self) -> list[str]:
        """One line per protocol on the whole embedding; results.json has everything else."""
        return [_line(self.description, entry) for entry in self._whole()]

    def content(self) -> dict[str, Any]:
        """What results.json holds."""
        results = [result.entry() for result in self.results]
        hooks = {label: report.content()["results"] for label, report in self.of_hooks.items()}
        content = {"description": self.description, "results": results}
        return {**content, "hooks": hooks} if hooks else content

    def summary(self) -> str:
        """The whole embedding's numbers in percent, aligned."""
        if not self.results:
            return f"{self.description['dataset']} has no protocols: nothing is evaluated"
        names = printed_metrics(self.description)
        header = ("", "direction", "queries", "unmatched", *names)
        rows = [_summary_row(result, names) for result in self._whole()]
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
        """Writes results.json, results.csv with every trial, and the values of every query."""
        folder, content = Path(output_dir), self.content()
        folder.mkdir(parents=True, exist_ok=True)
        for result in self.results:
            if result.queries:
                rows = result.queries.rows(result.metrics)
                write_csv(query_file(folder, result.protocol.name), rows)
        write_csv(folder / RESULTS_TABLE, _csv_rows(content))
        write_json(folder / RESULTS, content)


OWN_WEIGHTS = "model"  # beside the labels of hooks


def results_by_weights(content: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Returns the results of results.json by weights: the model's own, then those of each hook."""
    return {OWN_WEIGHTS: content["results"], **content.get("hooks", {})}


def _csv_rows(content: Mapping[str, Any]) -> list[list[Any]]:
    named, names = ("protocol", "table", "draw", "parts", "whole"), _names(content)
    rows: list[list[Any]] = [["weights", *named, "trial", "queries", "queries_skipped", *names]]
    entries = [(w, result) for w, of in results_by_weights(content).items() for result in of]
    for weights, result in entries:
        facts = [result[key] for key in named[:3]]
        name = [weights, *facts, "+".join(result["parts"]), result["whole"]]
        counts = zip(result["queries"], result["queries_skipped"], result["trials"], strict=True)
        for number, (queries, skipped, trial) in enumerate(counts):
            rows.append([*name, number, queries, skipped, *named_values(trial, names).values()])
        for words in ("mean", "std"):
            rows.append([*name, words, "", "", *named_values(result[words], names).values()])
    return rows


def _names(content: Mapping[str, Any]) -> tuple[str, ...]:
    return printed_metrics(content["description"])


def mean_metrics(
    content: Mapping[str, Any], weights: str = OWN_WEIGHTS
) -> dict[str, dict[str, float]]:
    """Returns the ``metrics`` of the report whose results.json has this content."""
    return {
        entry["protocol"]: named_values(entry["mean"], _names(content))
        for entry in results_by_weights(content)[weights]
        if entry["whole"]
    }


class ResultTable(NamedTuple):
    """A table of results.json for people, with the lines that say how each row was measured."""

    heading: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    lines: list[str]


def result_tables(content: Mapping[str, Any], weights: str = OWN_WEIGHTS) -> list[ResultTable]:
    """Writes the content of results.json as tables in percent, one per kind of protocol."""
    names, entries = _names(content), results_by_weights(content)[weights]
    header = ("protocol", "direction", "embedding", "queries", "unmatched", *names)
    tables = []
    for name in dict.fromkeys(result["table"] for result in entries):
        results = [result for result in entries if result["table"] == name]
        of_hook = f"Weights of the hook {weights}" if weights != OWN_WEIGHTS else ""
        other = f"A protocol of its own, not comparable ({name})" if name != "main" else ""
        heading = ". ".join(filter(None, (of_hook, other)))
        lines = dict.fromkeys(_protocol_line(result) for result in results)
        rows = [_result_row(result, names) for result in results]
        tables.append(ResultTable(heading, header, rows, [*lines]))
    return tables


def _result_row(result: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    parts = "+".join(result["parts"]) + ("" if result["whole"] else " (alone)")
    words = (result["protocol"], result["direction"], parts)
    return (*words, *_counts(result), *_percent(result, names))


def _protocol_line(result: Mapping[str, Any]) -> str:
    queries, skipped = result["queries"], max(result["queries_skipped"])
    return (
        f"{result['protocol']}: {result['direction']}, {_way(result)}, {_one_or_range(queries)} "
        f"queries, at most {skipped} without a match. Percent; trials that differ: mean ± std."
    )


def _way(result: Mapping[str, Any]) -> str:
    """How the trials were made."""
    draw = f"gallery draw {result['draw']}, {result['shots']} per identity and camera, "
    return (
        f"{draw if result['draw'] else ''}{counted(result['num_trials'], 'trial')}, camera rule "
        f"{result['camera_rule']}, CMC counts {result['cmc']}"
    )


def _summary_row(result: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    words = (result["protocol"], result["direction"])
    return (*words, *_counts(result), *_percent(result, names))


def _counts(result: Mapping[str, Any]) -> list[str]:
    return [_one_or_range(result[name]) for name in ("queries", "queries_skipped")]


_SAME = 1e-9  # a deviation below it is the rounding of equal trials


def _percent(result: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Each metric in percent, with its deviation where the trials differ."""
    mean, std = (named_values(result[of], names).values() for of in ("mean", "std"))
    if max(std) < _SAME:
        return [f"{100 * value:.2f}" for value in mean]
    return [f"{100 * m:.2f} ± {100 * s:.2f}" for m, s in zip(mean, std, strict=True)]


def _line(description: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """The numbers, how they were measured, and the short facts; lists and records are left out."""
    names = printed_metrics(description)
    values = zip(names, _percent(result, names), strict=True)
    short = {name: value for name, value in description.items() if isinstance(value, str | int)}
    facts = (f"{name}={_plain(value)}" for name, value in short.items() if value != "")
    return (
        f"{result['protocol']}  {'  '.join(' '.join(pair) for pair in values)}  "
        f"({_one_or_range(result['queries'])} queries, {_way(result)}, {', '.join(facts)})"
    )


def _one_or_range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _plain(value: str | int) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def check_expected(
    metrics: Mapping[str, Mapping[str, float]], expected: Sequence[Sequence[Any]]
) -> list[str]:
    """Lists, in a sentence each, the expectations that the mean metrics do not meet.

    Raises:
        ValueError: an entry is malformed, or names a protocol that was not run.
    """
    failures = []
    for entry in expected:
        names = next(iter(metrics.values()))
        protocol, metric, value, tolerance = check_entry(entry, metrics, names)
        result = metrics[protocol][metric]
        off = abs(result - value) - tolerance
        if not off <= 0:
            failures.append(
                f"{protocol} {metric} is {result:.6f}, expected {value:.6f} ± {tolerance:.6f}: "
                f"{'below' if result < value else 'above'} the range by {off:.6f}"
            )
    return failures


def check_entry(
    entry: Sequence[Any], protocols: Collection[str], names: Collection[str]
) -> tuple[str, str, float, float]:
    """Returns one entry of TEST.EXPECTED_RESULTS; ValueError for a malformed or foreign one.

    ``protocols`` and ``names`` of metrics are those of the run.
    """
    form = "[protocol, metric, value, tolerance] with value and tolerance as fractions"
    if not isinstance(entry, (list, tuple)) or len(entry) != 4:
        raise ValueError(f"TEST.EXPECTED_RESULTS entry {entry!r}: expected {form}")
    protocol, metric, value, tolerance = entry
    if not isinstance(protocol, str) or protocol not in all_protocols():
        raise ValueError(
            f"TEST.EXPECTED_RESULTS names {protocol!r}; choose from {list(all_protocols())}"
        )
    if not isinstance(metric, str) or metric not in names:
        raise ValueError(
            f"TEST.EXPECTED_RESULTS names {metric!r}; choose from TEST.METRICS = {tuple(names)}"
        )
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
