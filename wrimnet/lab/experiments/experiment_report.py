"""A whole report: what was run and how, the tables, and the files they are written to."""

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wrimnet.atomic_files import write_text
from wrimnet.lab.experiments.records import Record, read_records
from wrimnet.lab.experiments.row_report import (
    Report,
    RowRuns,
    difference_table,
    make_report,
    make_sweep,
    result_table,
    sweep_table,
    swept_keys,
    tables_of,
)
from wrimnet.lab.experiments.split_report import split_table
from wrimnet.run_folder import write_csv
from wrimnet.tables import Table, for_console, latex, markdown

LEGEND = (
    "Percent; mean ± sample standard deviation over seeds (divisor n - 1). Differences: row minus "
    "WRIM-Net, paired by seed, ± half the 95 % confidence interval of their mean (Student's t); "
    "*not shown* where that holds zero or there is one seed. The paper's numbers are LLCM's, and "
    "it names no direction: they stand once, *direction as printed*. Parameters: of the network "
    "that is tested. GFLOP: "
    "10^9 operations per image, counted, a multiplication and an addition as two. ms: latency of "
    "one image, measured."
)
CSV_HEADER = (
    "table", "row", "protocol", "metric", "seeds", "mean", "std", "difference", "margin", "verdict",
    "paper", "paper_difference", "parameters", "gflop", "latency_ms",
)  # fmt: skip


class WholeReport(NamedTuple):
    """Everything that a report of some folders holds."""

    title: str  # of the document
    facts: tuple[str, ...]  # sentences on what was run
    notes: str  # markdown that somebody wrote on the results, "" for none
    tables: tuple[Table, ...]  # as printed
    numbers: tuple[tuple[Any, ...], ...]  # rows of the CSV file, in full precision

    def markdown(self) -> str:
        """The document as Markdown."""
        facts = "\n".join(f"- {fact}" for fact in self.facts)
        tables = "\n".join(markdown(table) for table in self.tables)
        parts = (f"# {self.title}", facts, self.notes.strip(), LEGEND, tables)
        return "\n\n".join(part for part in parts if part)

    def for_console(self) -> str:
        """What is not finished, and the tables; the facts are in the document."""
        facts = [fact for fact in self.facts if fact.startswith("Not finished")]
        return "\n\n".join([*facts, *(for_console(table) for table in self.tables)])

    def write(self, stem: str | Path) -> list[Path]:
        """Writes STEM.md, STEM.tex and STEM.csv; returns their paths."""
        paths = [Path(f"{stem}.{suffix}") for suffix in ("md", "tex", "csv")]
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        write_text(paths[0], self.markdown())
        write_text(paths[1], "\n".join(latex(table) for table in self.tables))
        write_csv(paths[2], [CSV_HEADER, *self.numbers])
        return paths


def report_folders(
    places: Sequence[str | Path], *, tables: Sequence[str] = (), command: str = "", notes: str = ""
) -> WholeReport:
    """Reports every run at or below some folders.

    ``tables`` are of the paper's, () for those of which there is any row; ``notes`` are Markdown
    that goes between the facts and the tables.

    Raises:
        FileNotFoundError: no run there.
        ValueError: runs that must not share a table.
    """
    records = read_records(places)
    rows = [record for record in records if record.about["kind"] == "row"]
    reports = [make_report(table, rows) for table in tables or tables_of(rows)]
    sweeps = [make_sweep(key, records) for key in swept_keys(records)]
    printed = [table(report) for report in reports for table in (result_table, difference_table)]
    printed += [table(report) for report in sweeps for table in (sweep_table, difference_table)]
    splits = [record for record in records if record.about["kind"] == "split"]
    if splits:
        printed.append(split_table(splits, sorted({r.about["split"] for r in splits})))
    return WholeReport(
        title=f"Results on {', '.join(sorted({r.about['dataset'] for r in records}))}",
        facts=tuple(facts_of(records, command)),
        notes=notes,
        tables=tuple(printed),
        numbers=tuple(
            _line(report, row, column)
            for report in (*reports, *sweeps)
            for row in report.rows
            for column in report.columns
        ),
    )


def facts_of(records: Sequence[Record], command: str) -> list[str]:
    """Says with which commands, seeds, code and time the runs were made."""
    finished = [record for record in records if record.results is not None]
    commands = dict.fromkeys(record.about["started_by"] for record in records)
    versions = dict.fromkeys(
        f"commit {code['commit'] or 'unknown'}, torch {code['torch']}"
        for record in finished
        for code in (record.results["description"]["code"],)
    )
    seconds = [a["seconds"] for record in records for a in record.about.get("attempts", ())]
    facts = [
        *(f"Run with `{words}`" for words in commands if words),
        *([f"Reported with `{command}`"] if command and command not in commands else []),
        f"{len(finished)} of {len(records)} runs finished; seeds "
        f"{', '.join(map(str, sorted({record.about['seed'] for record in records})))}",
        "Each result is the one that the training wrote after its last epoch",
        f"Code: {'; '.join(versions) or 'no finished run'}",
        f"Time of all runs together: {datetime.timedelta(seconds=round(sum(seconds)))}",
        *_generated_data_facts(records),
    ]
    costs = [f"{c['device']}, {c['input']}, {c['precision']}" for r in records if (c := r.cost)]
    measured = [f"Cost measured on {conditions}" for conditions in dict.fromkeys(costs)]
    return [*facts, *_unfinished_facts(records), *measured]


def _unfinished_facts(records: Iterable[Record]) -> list[str]:
    """Names the runs without complete results, one line for each row or value."""
    runs: dict[str, list[str]] = {}
    for record in records:
        if record.results is None:
            kind, _, seed = record.about["name"].rpartition("/")
            runs.setdefault(kind, []).append(seed)
    return [f"Not finished: {kind}/{', '.join(seeds)}" for kind, seeds in runs.items()]


def _generated_data_facts(records: Iterable[Record]) -> list[str]:
    """Says what data are that this project made; nothing for distributed ones."""
    texts = {}
    for described in (record.about["generated_data"] or {} for record in records):
        rest = (f"{name} {value}" for name, value in described.items() if _is_short(name, value))
        if described:
            kind = described.get("what", "generated data, no photograph")
            texts[f"Data: {kind}; {', '.join(rest)}"] = None
    return list(texts)


def _is_short(name: str, value: Any) -> bool:
    return name != "what" and not isinstance(value, dict)


def _line(report: Report, row: RowRuns, column: tuple[str, str]) -> tuple[Any, ...]:
    summary, cost = row.summary(column), row.cost or {}
    ours = report.differences(row).get(column) if row is not report.full else None
    printed = report.printed_differences(row).get(column[1])
    return (
        report.title,
        row.label,
        *column,
        " ".join(map(str, row.seeds)),
        summary.mean if summary else None,
        summary.std if summary else None,
        ours.value if ours else None,
        ours.margin if ours else None,
        ours.verdict(printed) if ours else None,
        row.printed.get(column[1]),
        printed,
        *(cost.get(name) for name in ("parameters", "gflop", "latency_ms")),
    )
