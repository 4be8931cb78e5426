"""What an evaluation found, in every form it is read: numbers, lines, a table, files.

The report holds everything that its numbers depend on; each form is made from it alone.
"""

import csv
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wrimnet.evaluation.protocols import Protocol
from wrimnet.metrics.ranking import RankingMetrics

RANKS = (1, 5, 10, 20)
METRIC_NAMES = (*(f"Rank-{rank}" for rank in RANKS), "mAP", "mINP")


@dataclass(frozen=True, kw_only=True)
class ProtocolResult:
    """One protocol on one selection of embedding parts.

    Attributes:
        protocol: as it was run.
        draw: gallery draw; "" where the protocol has none.
        parts: groups of the embedding, in order.
        whole: these are the parts that the configuration selects.
        trials: one entry per trial.
    """

    protocol: Protocol
    draw: str
    parts: tuple[str, ...]
    whole: bool
    trials: tuple[RankingMetrics, ...]

    def mean(self) -> dict[str, float]:
        """Mean over the trials of each metric, as fractions."""
        return dict(zip(METRIC_NAMES, self._values().mean(axis=0).tolist(), strict=True))

    def std(self) -> dict[str, float]:
        """Standard deviation over the trials (of these trials: divisor T)."""
        return dict(zip(METRIC_NAMES, self._values().std(axis=0).tolist(), strict=True))

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
        trials = [trial_numbers(trial) for trial in self.trials]
        columns = {name: np.array([trial[name] for trial in trials]) for name in trials[0]}
        return {
            "mean": {name: values.mean(axis=0).tolist() for name, values in columns.items()},
            "std": {name: values.std(axis=0).tolist() for name, values in columns.items()},
            "trials": trials,
        }

    def _values(self) -> np.ndarray:
        return np.array([list(trial_metrics(trial).values()) for trial in self.trials])


def trial_metrics(trial: RankingMetrics) -> dict[str, float]:
    """The printed metrics of one trial, as fractions."""
    ranks = [float(trial.cmc[rank - 1]) for rank in RANKS]
    values = (*ranks, trial.mean_average_precision, trial.mean_inverse_negative_penalty)
    return dict(zip(METRIC_NAMES, values, strict=True))


def trial_numbers(trial: RankingMetrics) -> dict[str, Any]:
    """The whole curve (20 values), mAP and mINP of one trial."""
    return {
        "cmc": [float(value) for value in trial.cmc],
        "mAP": trial.mean_average_precision,
        "mINP": trial.mean_inverse_negative_penalty,
    }


class EvaluationReport:
    """All results of one run, and what they were measured with.

    Args:
        description: dataset, embedding, options, weights, versions.
        results: every protocol, on the whole embedding and on each of its groups.
    """

    def __init__(self, description: Mapping[str, Any], results: list[ProtocolResult]) -> None:
        self.description = dict(description)
        self.results = results

    @property
    def metrics(self) -> OrderedDict[str, dict[str, float]]:
        """Mean metrics of the whole embedding per protocol, as fractions."""
        return OrderedDict((r.protocol.name, r.mean()) for r in self.results if r.whole)

    def lines(self) -> list[str]:
        """One line per result that says what was measured and how."""
        return [_line(self.description, result) for result in self.results]

    def markdown(self) -> str:
        """A table in percent for each kind of protocol, the whole embedding first."""
        tables = dict.fromkeys(result.protocol.table for result in self.results)
        return "\n\n".join(self._table(table) for table in tables)

    def write(self, output_dir: str | Path) -> None:
        """Writes results.json and results.csv with every trial, mean and standard deviation."""
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        results = [
            {**r.describe(), "parts": list(r.parts), "whole": r.whole, **r.numbers()}
            for r in self.results
        ]
        content = json.dumps({"description": self.description, "results": results}, indent=1)
        (folder / "results.json").write_text(content + "\n")
        with open(folder / "results.csv", "w", newline="") as file:
            csv.writer(file).writerows(self._rows())

    def _table(self, table: str) -> str:
        results = [result for result in self.results if result.protocol.table == table]
        heading = "" if table == "main" else f"Protocol of its own, not comparable ({table}):\n\n"
        rows = [
            [r.protocol.name, "+".join(r.parts), *(_percent(r, name) for name in METRIC_NAMES)]
            for r in results
        ]
        header = ["protocol", "embedding", *METRIC_NAMES]
        body = [header, ["---"] * 2 + ["---:"] * len(METRIC_NAMES), *rows]
        return heading + "\n".join(f"| {' | '.join(row)} |" for row in body)

    def _rows(self) -> list[list[Any]]:
        rows: list[list[Any]] = [["protocol", "table", "draw", "parts", "whole", "trial",
                                  "queries", "queries_skipped", *METRIC_NAMES]]  # fmt: skip
        for result in self.results:
            name = [result.protocol.name, result.protocol.table, result.draw,
                    "+".join(result.parts), result.whole]  # fmt: skip
            for number, trial in enumerate(result.trials):
                counts = [number, trial.num_queries, trial.num_skipped]
                rows.append([*name, *counts, *trial_metrics(trial).values()])
            rows.append([*name, "mean", "", "", *result.mean().values()])
            rows.append([*name, "std", "", "", *result.std().values()])
        return rows


def read_metrics_of_results(output_dir: str | Path) -> dict[str, dict[str, float]]:
    """Returns the ``metrics`` of the report that was written to a folder.

    Raises:
        FileNotFoundError: no results were written to it.
    """
    path = Path(output_dir) / "results.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; evaluate with --eval-only to write it")
    results = json.loads(path.read_text())["results"]
    metrics = [(entry["protocol"], entry["mean"]) for entry in results if entry["whole"]]
    return {protocol: _named_metrics(mean) for protocol, mean in metrics}


def _named_metrics(mean: Mapping[str, Any]) -> dict[str, float]:
    ranks = [mean["cmc"][rank - 1] for rank in RANKS]
    return dict(zip(METRIC_NAMES, (*ranks, mean["mAP"], mean["mINP"]), strict=True))


def _percent(result: ProtocolResult, name: str) -> str:
    value = f"{100 * result.mean()[name]:.2f}"
    return value if len(result.trials) == 1 else f"{value} ± {100 * result.std()[name]:.2f}"


def _line(description: Mapping[str, Any], result: ProtocolResult) -> str:
    facts = {
        "dataset": description.get("dataset"),
        **{name: value for name, value in result.describe().items() if name != "table"},
        "embedding": "+".join(result.parts),
        **{name: value for name, value in description.items() if name != "dataset"},
    }
    for name in ("queries", "queries_skipped"):
        facts[name] = _one_or_range(facts[name])
    said = ", ".join(f"{name}={_plain(value)}" for name, value in facts.items())
    values = "  ".join(f"{name} {_percent(result, name)}" for name in METRIC_NAMES)
    return f"{values}  ({said})"


def _one_or_range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}..{high}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "/".join(f"{name}:{_plain(entry)}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        return "+".join(str(entry) for entry in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)
