"""A table's rows from their runs: means, paired differences with their intervals, costs."""

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from scipy.special import stdtrit

from wrimnet.lab.experiments.plans import TablePlan
from wrimnet.lab.experiments.records import (
    Record,
    check_comparable,
    check_repeats,
    read_record_of,
)
from wrimnet.lab.experiments.table_file import COSTS, HELD_OUT, TEST, TableFile
from wrimnet.metrics.names import COMPARED, compared_metrics
from wrimnet.published import Published
from wrimnet.tables import MISSING, Table

Column = tuple[str, str]  # protocol, metric
NOT_SIGNIFICANT = "not significant"
# What runs on several divisions of a dataset may differ in, beside the division's number.
OF_A_DIVISION = ("queries", "generated_data", "images", "train_images")


class Summary(NamedTuple):
    """Several runs' values of one metric, in percent."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        """Sample standard deviation (divisor n - 1); None for one run."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        """Writes "34.10 ± 1.25", without the deviation for one run."""
        return f"{self.mean:.2f}{_plus_minus(self.std)}"


class Difference(NamedTuple):
    """A row minus another, paired by seed or split.

    Args:
        value: mean difference of the runs of one seed or split, in percentage points.
        margin: half the width of its 95 % confidence interval by Student's t; None for one pair.
    """

    value: float
    margin: float | None

    def verdict(self, published: float | None) -> str:
        """Says whether the interval holds zero; if not, compares with the published sign."""
        if self.margin is None or abs(self.value) <= self.margin:
            return NOT_SIGNIFICANT
        if not published:
            return "lower" if self.value < 0 else "higher"
        return "same sign" if (self.value < 0) == (published < 0) else "other sign"


def paired_difference(row: Mapping[Any, float], other: Mapping[Any, float]) -> Difference | None:
    """Returns ``row`` minus ``other``, over the seeds or splits of both; None without one."""
    differences = [row[number] - other[number] for number in sorted(row.keys() & other.keys())]
    if not differences:
        return None
    margin = None
    if (number := len(differences)) > 1:
        quantile = float(stdtrit(number - 1, 0.975))
        margin = quantile * statistics.stdev(differences) / math.sqrt(number)
    return Difference(statistics.fmean(differences), margin)


def _plus_minus(margin: float | None) -> str:
    return "" if margin is None else f" ± {margin:.2f}"


class RowRuns(NamedTuple):
    """The runs of one row."""

    label: str  # as printed
    name: str  # its label in the table's file
    point: Mapping[str, Any]  # its values of a grid's keys
    records: dict[int, Record]  # of its runs, finished or not, by seed or split
    base: str = ""  # label that the points of its grid share

    @property
    def finished(self) -> dict[int, Record]:
        """Runs with results."""
        return {n: record for n, record in self.records.items() if record.results is not None}

    @property
    def cost(self) -> dict[str, Any]:
        """What the network costs, measured on one of the runs; {} where none was measured."""
        cost = next((record.cost for record in self.records.values() if record.cost), {})
        speeds = [speed for record in self.finished.values() for speed in record.speeds]
        return {**cost, **({"images_per_second": statistics.median(speeds)} if speeds else {})}

    def values(self, column: Column) -> dict[int, float]:
        """One metric of the finished runs in percent, by seed or split."""
        return {number: record.value(*column) for number, record in self.finished.items()}

    def summary(self, column: Column) -> Summary | None:
        """Mean and spread of one metric over the finished runs, None without any."""
        values = self.values(column)
        return Summary(tuple(values.values())) if values else None


class TableReport(NamedTuple):
    """The rows of one table, all comparable."""

    table: TableFile
    rows: tuple[RowRuns, ...]  # in printed order
    columns: tuple[Column, ...]
    published: tuple[Published, ...]  # those for the dataset of the runs

    @property
    def records(self) -> list[Record]:
        """Every run, those that are not finished as well."""
        return [record for row in self.rows for record in row.records.values()]

    @property
    def points(self) -> list[RowRuns]:
        """The rows of its grid that have results."""
        return [row for row in self.rows if row.point and row.finished]

    @property
    def against(self) -> RowRuns | None:
        """The row that the others are compared with."""
        return next((row for row in self.rows if row.name == self.table.against), None)

    def differences(self, row: RowRuns) -> dict[Column, Difference]:
        """The row minus the one it is compared with, for the columns that both have."""
        if self.against is None:
            return {}
        pairs = {c: (row.values(c), self.against.values(c)) for c in self.columns}
        intervals = {column: paired_difference(*pair) for column, pair in pairs.items()}
        return {column: ours for column, ours in intervals.items() if ours}

    def published_differences(self, row: RowRuns) -> dict[str, float]:
        """The same of the published numbers, by metric; {} unless they are from one source."""
        if len(self.published) != 1 or self.against is None:
            return {}
        names = (row.name, self.against.name)
        published, other = (self.published[0].values(name) for name in names)
        return {
            metric: published[metric] - other[metric] for metric in published if metric in other
        }


def make_report(plan: TablePlan) -> TableReport:
    """Reads the runs of a table.

    Raises:
        ValueError: runs that must not share a table, or costs of different devices.
    """
    rows = tuple(
        one
        for label, row, runs in plan.rows
        for one in with_hooks(
            RowRuns(
                label,
                row.label,
                row.point,
                {number: read_record_of(run) for number, run in runs.items()},
                row.base,
            )
        )
    )
    records = [record for row in rows for record in row.records.values()]
    described = {record.about.get("described_as", "") for record in records}
    but = (*described, *OF_A_DIVISION) if any(described) else ()
    check_comparable(records, but=(*but, *["start"] * plan.table.compares_starts))
    for row in rows:
        check_comparable(row.finished.values(), but=but)
        keys = {record.about.get("split_key", "") for record in row.records.values()}
        check_repeats(row.finished.values(), but={"SEED", "OUTPUT_DIR", *keys})
    if "latency_ms" in plan.table.costs:  # the other costs are counted
        _check_costs(row.cost for row in rows)
    means = {name: entry["mean"] for record in records for name, entry in record.whole.items()}
    shown = {name: plan.table.metrics or compared_metrics(mean) for name, mean in means.items()}
    columns = tuple((name, metric) for name, metrics in shown.items() for metric in metrics)
    dataset = records[0].about["dataset"]
    published = tuple(one for one in plan.table.published if one.dataset in ("", dataset))
    return TableReport(plan.table, rows, columns, published)


def with_hooks(row: RowRuns) -> list[RowRuns]:
    """Returns a row, then one for each weights that hooks had evaluated, such as an EMA's."""
    records: dict[str, dict[int, Record]] = {}
    for number, record in row.records.items():
        for label, other in record.of_hooks().items():
            records.setdefault(label, {})[number] = other
    others = [RowRuns(f"{row.label} {w}", f"{row.name} {w}", {}, of) for w, of in records.items()]
    return [row, *others]


def _check_costs(costs: Iterable[Mapping[str, Any]]) -> None:
    conditions = {(c["device"], c["input"], c["precision"]) for c in costs if "device" in c}
    if len(conditions) > 1:
        raise ValueError(
            f"costs were measured under different conditions: {sorted(conditions)}; measure them "
            "again with tools/measure_cost.py on one machine"
        )


def result_table(report: TableReport) -> Table:
    """Mean ± deviation over the runs, the costs of the row, and what is published."""
    header = (
        "row",
        "splits" if report.table.splits else "seeds",
        *map(" ".join, report.columns),
        *(COSTS[name][0] for name in report.table.costs),
        *(f"published {'/'.join(COMPARED)}: {one.source}" for one in report.published),
    )
    rows = tuple(_result_cells(report, row) for row in report.rows)
    return Table(report.table.title, header, rows, _notes(report))


def _result_cells(report: TableReport, row: RowRuns) -> tuple[str, ...]:
    summaries = [row.summary(column) for column in report.columns]
    cost = row.cost
    return (
        row.label,
        *(str(x) if x else MISSING for x in (len(row.finished), *summaries)),
        *(_cost_cell(name, cost.get(name)) for name in report.table.costs),
        *(str(one.numbers.get(row.name, MISSING)) for one in report.published),
    )


def _cost_cell(name: str, value: float | None) -> str:
    _, form, scale = COSTS[name]
    return MISSING if value is None else form.format(value * scale)


def _notes(report: TableReport) -> tuple[str, ...]:
    """What is missing, and what was scored where a reader might take it for something else."""
    table, what = report.table, "split" if report.table.splits else "seed"
    missing = [(row.label, sorted({*row.records} - {*row.finished})) for row in report.rows]
    notes = [f"{label}: {what} {', '.join(map(str, n))} missing" for label, n in missing if n]
    if table.compares_starts:
        starts = [(row.label, next(iter(row.finished.values()), None)) for row in report.rows]
        said = [f"{label} from {run.start}" for label, run in starts if run]
        notes.append(f"Rows start from different weights: {', '.join(said)}.")
    changed = dict.fromkeys(file for record in report.records for file in record.changed_files)
    if changed:
        notes.append(
            f"The source of plug-ins, {', '.join(changed)}, was changed, added or removed since "
            "these runs; without --report-only the same call trains them again."
        )
    splits = {run.results["description"]["split"] for run in report.records if run.results}
    if table.scored_on != TEST or splits == {"train"}:
        notes.append(f"Scored on {HELD_OUT}.")
    elif table.grid:
        notes.append("Scored on the test set: a value that is chosen here is chosen on test data.")
    return tuple(notes)


def tables_of(report: TableReport) -> list[Table]:
    """Returns the table and, if a row is named to compare with, that of the differences."""
    return [result_table(report), *([difference_table(report)] if report.against else [])]


def difference_table(report: TableReport) -> Table:
    """Each row minus the one of ``against``, with its confidence interval, and the published."""
    assert report.against is not None
    sources = [one.source for one in report.published] * (len(report.published) == 1)
    header = (
        f"row minus {report.against.label}",
        *map(" ".join, report.columns),
        *(f"published {'/'.join(COMPARED)}: {source}" for source in sources),
    )
    others = [row for row in report.rows if row is not report.against]
    rows = tuple(_difference_cells(report, row, bool(sources)) for row in others)
    return Table(f"{report.table.title}, differences", header, rows)


def _difference_cells(report: TableReport, row: RowRuns, has_source: bool) -> tuple[str, ...]:
    """Writes "-2.31 ± 1.40, same sign" per column."""
    ours, published = report.differences(row), report.published_differences(row)
    cells = [
        f"{gap.value:+.2f}{_plus_minus(gap.margin)}, {gap.verdict(published.get(column[1]))}"
        if (gap := ours.get(column))
        else MISSING
        for column in report.columns
    ]
    texts = [f"{published[m]:+.2f}" if m in published else MISSING for m in COMPARED]
    return (row.label, *cells, *["/".join(texts)] * has_source)
