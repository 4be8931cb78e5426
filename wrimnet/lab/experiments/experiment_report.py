"""A whole report: what was run and how, the tables, and the files they are written to."""

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wrimnet.atomic_files import write_text
from wrimnet.evaluation.plugin_sources import OF_PLUGINS, plugin_hashes
from wrimnet.lab.experiments.plans import setup_planned_cfg
from wrimnet.lab.experiments.records import Record
from wrimnet.lab.experiments.table_file import COSTS
from wrimnet.lab.experiments.table_report import Column, RowRuns, TableReport, tables_of
from wrimnet.run_folder import write_csv
from wrimnet.tables import Table, latex, markdown

LEGEND = (
    "Percent; mean ± sample standard deviation over seeds or splits (divisor n - 1). Differences: "
    "mean over the runs, paired by seed or split, ± half of its 95 % confidence interval "
    "(Student's t); *not significant* where the interval holds 0 or there is one pair. Published "
    "numbers are of the setting that the column names, not of these runs. Parameters: of the "
    "tested network. GFLOP: 10^9 operations per image, counted, a multiplication and an addition "
    "as two. ms: latency of one image, measured. Activation MB: what the forward pass of a "
    "training batch keeps for the backward pass, counted. images/s: of the training, median of "
    "the log, beside whatever else the machine was doing."
)
CSV_HEADER = (
    "table", "row", "protocol", "metric", "runs", "values", "mean", "std", "difference", "margin",
    "verdict", "published_difference", *COSTS,
)  # fmt: skip


class WholeReport(NamedTuple):
    """Everything that a report of some tables holds."""

    facts: tuple[str, ...]  # sentences on what was run
    reports: tuple[TableReport, ...]

    @property
    def tables(self) -> list[Table]:
        """Each table with its differences behind it."""
        return [table for report in self.reports for table in tables_of(report)]

    def markdown(self) -> str:
        """The document as Markdown."""
        records = [record for report in self.reports for record in report.records]
        datasets = ", ".join(sorted({record.about["dataset"] for record in records}))
        facts = "\n".join(f"- {fact}" for fact in self.facts)
        tables = "\n".join(markdown(table) for table in self.tables)
        return "\n\n".join((f"# Results on {datasets}", facts, LEGEND, tables))

    def write(self, stem: str | Path) -> list[Path]:
        """Writes STEM.md, STEM.tex and STEM.csv; returns their paths."""
        paths = [Path(f"{stem}.{suffix}") for suffix in ("md", "tex", "csv")]
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        write_text(paths[0], self.markdown())
        write_text(paths[1], "\n".join(latex(table) for table in self.tables))
        lines = [
            csv_line(report, row, column)
            for report in self.reports
            for row in report.rows
            for column in report.columns
        ]
        write_csv(paths[2], [CSV_HEADER, *lines])
        return paths


def csv_line(report: TableReport, row: RowRuns, column: Column) -> tuple[Any, ...]:
    """One line of the CSV file, in full precision, in the order of CSV_HEADER."""
    values, summary, cost = row.values(column), row.summary(column), row.cost
    ours = report.differences(row).get(column) if row is not report.against else None
    published = report.published_differences(row).get(column[1])
    return (
        report.table.title,
        row.label,
        *column,
        " ".join(map(str, values)),
        " ".join(map(str, values.values())),
        summary.mean if summary else None,
        summary.std if summary else None,
        ours.value if ours else None,
        ours.margin if ours else None,
        ours.verdict(published) if ours else None,
        published,
        *(cost.get(name) for name in COSTS),
    )


def facts_of(records: Sequence[Record], command: str) -> list[str]:
    """Says with which commands, seeds, code and time the runs were made."""
    finished = [record.results for record in records if record.results is not None]
    commands = dict.fromkeys(record.about["started_by"] for record in records)
    versions = dict.fromkeys(
        f"commit {code['commit'] or 'unknown'}, torch {code['torch']}"
        for results in finished
        for code in (results["description"]["code"],)
    )
    hashes = [item for results in finished for item in plugin_hashes(results).items()]
    plugins = dict.fromkeys(f"{name.removeprefix(OF_PLUGINS)} {sha}" for name, sha in hashes)
    seconds = [a["seconds"] for record in records for a in record.about.get("attempts", ())]
    seeds = ", ".join(map(str, sorted({record.about["seed"] for record in records})))
    facts = [
        *(f"Run with `{words}`" for words in commands if words),
        *([f"Reported with `{command}`"] if command and command not in commands else []),
        f"{len(finished)} of {len(records)} runs finished; seeds {seeds}",
        "Each result is the one that the training wrote after its last epoch",
        f"Code: {'; '.join(versions) or 'no finished run'}",
        *([f"Source of plug-ins: {', '.join(plugins)}"] if plugins else []),
        f"Time of all runs together: {datetime.timedelta(seconds=round(sum(seconds)))}",
        *_generated_data_facts(records),
    ]
    costs = [f"{c['device']}, {c['input']}, {c['precision']}" for r in records if (c := r.cost)]
    measured = [f"Cost measured on {conditions}" for conditions in dict.fromkeys(costs)]
    return [*facts, *measured]


def chance_fact(record: Record) -> str:
    """Says what embeddings without information score on the test set of a run."""
    from wrimnet.data.build import build_dataset
    from wrimnet.evaluation.chance_level import chance_level
    from wrimnet.evaluation.evaluator import build_evaluator
    from wrimnet.metrics.names import is_compared

    cfg = setup_planned_cfg(record.about, "MODEL.DEVICE", "cpu")
    evaluator = build_evaluator(cfg, build_dataset(cfg))
    texts = []
    for run in evaluator.runs:
        names = [name for name in evaluator.metrics if is_compared(name)]
        options: dict[str, Any] = {"num_embeddings": 10, "metrics": names}
        chance = chance_level(run.protocol, evaluator.items, run.trials, **options).mean
        values = ", ".join(f"{name} {100 * value:.2f}" for name, value in chance.items())
        texts.append(f"{run.protocol.name} {values}")
    return f"Chance: {'; '.join(texts)}"


def _generated_data_facts(records: Iterable[Record]) -> list[str]:
    """Says what data are that this project made; nothing for distributed ones."""
    texts: dict[str, None] = {}
    for described in (record.about["generated_data"] or {} for record in records):
        rest = {n: v for n, v in described.items() if n != "what" and not isinstance(v, dict)}
        if described:
            kind = described.get("what", "synthetic data, no photograph")
            texts[f"Data: {kind}; {', '.join(f'{name} {v}' for name, v in rest.items())}"] = None
    return list(texts)
