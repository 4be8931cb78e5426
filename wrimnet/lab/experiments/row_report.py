"""The paper's tables, sweeps and divisions from run folders, ours beside the printed."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from scipy.special import stdtrit

from wrimnet.lab.experiments.plans import BY_NAME, DEFAULTS, FULL, TABLES, Row, rows_of
from wrimnet.lab.experiments.records import Record, check_comparable
from wrimnet.metrics.names import COMPARED, compared_metrics
from wrimnet.tables import MISSING, Table

Column = tuple[str, str]  # protocol, metric
COSTS = (
    ("parameters", "M parameters", "{:.2f}", 1e-6),
    ("gflop", "GFLOP/image", "{:.3g}", 1),
    ("latency_ms", "ms/image", "{:.1f}", 1),
)
PRINTED_HEADER = tuple(f"paper {metric}, direction as printed" for metric in COMPARED)


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
    """A row minus WRIM-Net, paired by seed.

    Args:
        value: mean difference of the runs with one seed, in percentage points.
        margin: half the width of its 95 % confidence interval by Student's t; None for one seed.
    """

    value: float
    margin: float | None

    def verdict(self, printed: float | None) -> str:
        """Says "not shown" if zero lies in the interval, else compares with the paper's sign."""
        if self.margin is None or abs(self.value) <= self.margin:
            return "not shown"
        if not printed:
            return "lower" if self.value < 0 else "higher"
        return "same sign" if (self.value < 0) == (printed < 0) else "other sign"


def paired_difference(row: Mapping[int, float], full: Mapping[int, float]) -> Difference | None:
    """Returns ``row`` minus ``full``, each by seed, over the seeds of both; None without one."""
    found = [row[seed] - full[seed] for seed in sorted(row.keys() & full.keys())]
    if not found:
        return None
    margin = None
    if (number := len(found)) > 1:
        quantile = float(stdtrit(number - 1, 0.975))
        margin = quantile * statistics.stdev(found) / math.sqrt(number)
    return Difference(statistics.fmean(found), margin)


def _plus_minus(margin: float | None) -> str:
    return "" if margin is None else f" ± {margin:.2f}"


class RowRuns(NamedTuple):
    """The runs of one row of a report."""

    label: str  # as printed
    records: tuple[Record, ...]  # of its runs, finished or not, by seed
    printed: dict[str, float]  # the paper's numbers by metric, {} for none

    @property
    def finished(self) -> tuple[Record, ...]:
        """Runs with results."""
        return tuple(record for record in self.records if record.results is not None)

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs with results."""
        return [record.about["seed"] for record in self.finished]

    @property
    def cost(self) -> dict[str, Any] | None:
        """What the network costs, measured on one of the runs."""
        return next((record.cost for record in self.records if record.cost), None)

    @property
    def is_full(self) -> bool:
        """Whether it is WRIM-Net as configured for the dataset."""
        return any(record.about.get("row") == FULL for record in self.records)

    def values(self, column: Column) -> dict[int, float]:
        """One metric of the finished runs in percent, by seed."""
        return {record.about["seed"]: record.value(*column) for record in self.finished}

    def summary(self, column: Column) -> Summary | None:
        """Mean and spread of one metric over the finished runs, None without any."""
        values = self.values(column)
        return Summary(tuple(values.values())) if values else None


class Report(NamedTuple):
    """The rows of one table, all comparable."""

    title: str  # what the table is about
    rows: tuple[RowRuns, ...]  # in printed order
    columns: tuple[Column, ...]
    seeds: tuple[int, ...]  # of any run; a row without one of them is incomplete
    full: RowRuns  # WRIM-Net's, what the others are compared with; empty where it was not run

    def differences(self, row: RowRuns) -> dict[Column, Difference]:
        """The row minus WRIM-Net's, for the columns that both have."""
        found = {c: paired_difference(row.values(c), self.full.values(c)) for c in self.columns}
        return {column: ours for column, ours in found.items() if ours}

    def printed_differences(self, row: RowRuns) -> dict[str, float]:
        """The same of the paper's numbers, by metric."""
        full = self.full.printed
        return {m: row.printed[m] - full[m] for m in COMPARED if m in row.printed and m in full}

    def missing(self) -> list[str]:
        """One sentence per row that lacks a run."""
        return [
            f"{row.label}: seed {', '.join(map(str, lacking))} missing"
            for row in self.rows
            if (lacking := sorted(set(self.seeds) - set(row.seeds)))
        ]


def make_report(table: str, records: Sequence[Record]) -> Report:
    """Gathers one of the paper's tables, a key of ``TABLES``, from the runs of any rows.

    Raises:
        ValueError: runs that must not share a table, or two runs of one row and seed.
    """
    rows = [_row_runs(row, records) for row in rows_of(table)]
    title = f"Table {table}" if table.startswith("S") else "Losses"
    return gather(f"{title}: {TABLES[table]}", rows)


def gather(title: str, rows: Sequence[RowRuns]) -> Report:
    """Makes a report of rows after checking that they may stand together."""
    records = [record for row in rows for record in row.records]
    check_comparable(records)
    _check_costs(row.cost for row in rows)
    seeds = tuple(sorted({record.about["seed"] for record in records}))
    full = next((row for row in rows if row.is_full), RowRuns("", (), {}))
    return Report(title, tuple(rows), columns_of(records), seeds, full)


def columns_of(records: Iterable[Record]) -> tuple[Column, ...]:
    """Lists protocol and metric of every column that some run has results for."""
    means = {name: entry["mean"] for record in records for name, entry in record.whole.items()}
    return tuple((protocol, m) for protocol, mean in means.items() for m in compared_metrics(mean))


def tables_of(records: Iterable[Record]) -> list[str]:
    """Names the tables of which there is any row beside WRIM-Net's own."""
    names = {record.about.get("row") for record in records} - {None, FULL}
    return [table for table in TABLES if any(table in BY_NAME[name].tables for name in names)]


def _row_runs(row: Row, records: Sequence[Record]) -> RowRuns:
    own = [record for record in records if record.about.get("row") == row.name]
    printed = dict(zip(COMPARED, (row.rank1, row.mean_average_precision), strict=True))
    numbers = {metric: value for metric, value in printed.items() if value is not None}
    return RowRuns(row.label, by_seed(own), numbers)


def by_seed(records: Sequence[Record]) -> tuple[Record, ...]:
    """Sorts the runs of one row by seed; raises ValueError if two of them have one."""
    found: dict[int, Record] = {}
    for record in records:
        twin = found.setdefault(record.about["seed"], record)
        if twin is not record:
            raise ValueError(
                f"{twin.folder} and {record.folder} are the same row and seed; give one of them"
            )
    return tuple(found[seed] for seed in sorted(found))


def _check_costs(costs: Iterable[dict[str, Any] | None]) -> None:
    """Raises ValueError if costs of one column were measured on different devices or sizes."""
    conditions = {(c["device"], c["input"], c["precision"]) for c in costs if c}
    if len(conditions) > 1:
        raise ValueError(
            f"costs were measured under different conditions: {sorted(conditions)}; measure them "
            "again with tools/measure_cost.py on one machine"
        )


def result_table(report: Report) -> Table:
    """Ours as mean ± deviation over seeds, the paper's number, the cost of the row."""
    costs = tuple(label for _, label, _, _ in COSTS)
    header = ("row", "seeds", *_named(report.columns), *PRINTED_HEADER, *costs)
    rows = tuple(
        (*_own_cells(report, row), *_printed_cells(row.printed, "{:.2f}"), *_cost_cells(row))
        for row in report.rows
    )
    return Table(report.title, header, rows, tuple(report.missing()))


def sweep_table(report: Report) -> Table:
    """The sweep as a table; the figure of the paper has no legible values to put beside it."""
    header = ("value", "seeds", *_named(report.columns), *(label for _, label, _, _ in COSTS))
    rows = tuple((*_own_cells(report, row), *_cost_cells(row)) for row in report.rows)
    return Table(report.title, header, rows, tuple(report.missing()))


def difference_table(report: Report) -> Table:
    """Each row minus WRIM-Net, with its confidence interval, and its sign beside the paper's."""
    header = ("row minus WRIM-Net", *_named(report.columns), *PRINTED_HEADER)
    rows = tuple(_difference_cells(report, row) for row in report.rows if row is not report.full)
    return Table(f"{report.title}, differences", header, rows)


def _named(columns: Iterable[Column]) -> list[str]:
    return [" ".join(column) for column in columns]


def _own_cells(report: Report, row: RowRuns) -> list[str]:
    """Label, number of seeds, and what each column says of the row."""
    summaries = [row.summary(column) for column in report.columns]
    return [row.label, *(str(x) if x else MISSING for x in (len(row.seeds), *summaries))]


def _printed_cells(printed: dict[str, float], form: str) -> list[str]:
    return [form.format(printed[m]) if m in printed else MISSING for m in COMPARED]


def _cost_cells(row: RowRuns) -> list[str]:
    cost = row.cost
    return [form.format(cost[name] * scale) if cost else MISSING for name, _, form, scale in COSTS]


def _difference_cells(report: Report, row: RowRuns) -> tuple[str, ...]:
    """Writes "-2.31 ± 1.40, same sign" per column."""
    ours, printed = report.differences(row), report.printed_differences(row)
    cells = [
        f"{gap.value:+.2f}{_plus_minus(gap.margin)}, {gap.verdict(printed.get(column[1]))}"
        if (gap := ours.get(column))
        else MISSING
        for column in report.columns
    ]
    return (row.label, *cells, *_printed_cells(printed, "{:+.2f}"))


def swept_keys(records: Iterable[Record]) -> list[str]:
    """Names the keys that some run was made for."""
    return list(dict.fromkeys(r.about["key"] for r in records if r.about["kind"] == "sweep"))


def make_sweep(key: str, records: Sequence[Record]) -> Report:
    """Gathers the runs of a key's values; WRIM-Net's own runs are the paper's setting.

    Of WRIM-Net's runs only those with a seed of the other values' count: a mean over three seeds
    would not compare with single runs.

    Raises:
        KeyError: no run was made for this key.
        ValueError: runs that must not share a table.
    """
    own = [record for record in records if record.about.get("key") == key]
    if not own:
        raise KeyError(f"no run of a sweep over {key}; there are sweeps over {swept_keys(records)}")
    seeds = {record.about["seed"] for record in own}
    full = [r for r in records if r.about.get("row") == FULL and r.about["seed"] in seeds]
    points: dict[str, list[Record]] = {}
    for record in sorted((*own, *full), key=lambda record: _order(value_of(record, key))):
        points.setdefault(str(value_of(record, key)), []).append(record)
    rows = [RowRuns(text, by_seed(runs), {}) for text, runs in points.items()]
    rows = [r._replace(label=f"{r.label} (WRIM-Net)") if r.is_full else r for r in rows]
    return gather(f"Sweep over {key}", rows)


def value_of(record: Record, key: str) -> Any:
    """Returns the value that a key has in a run; its default in a run older than the key."""
    settings = record.about["settings"]
    return settings[key] if key in settings else DEFAULTS[key]


def _order(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str | list), str(value) if isinstance(value, str | list) else value
