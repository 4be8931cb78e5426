"""Tables' files, and plans of runs that nobody configured."""

from pathlib import Path

import yaml

from wrimnet.lab.experiments.plans import PlannedRow, TablePlan
from wrimnet.lab.experiments.runs import ExperimentRun
from wrimnet.lab.experiments.table_file import read_table


def write_table(path: Path, **content) -> Path:
    """Writes a table's file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return path


def plan_of(root: Path, numbers=(0,), *, about=None, **content) -> TablePlan:
    """A plan whose runs are in ``root``, without any configuration; rows may be names alone."""
    rows = content.pop("rows", {})
    if not isinstance(rows, dict):
        rows = {name: {"folder": name} for name in rows}
    content = {"title": "Table", "config": "x.yml", "rows": rows, **content}
    table = read_table(write_table(root.parent / f"{root.name}.yml", **content))
    what = "split" if table.splits else "seed"

    def run(folder, number):
        name = f"{folder}/{what}{number}"
        record = {"name": name, "dataset": "Synthetic", "seed": 0, "started_by": "", what: number}
        record |= {"generated_data": None, "overrides": [], "config": "abc", **(about or {})}
        return ExperimentRun(name, root / name, (), "abc", record)

    planned = [
        PlannedRow(row.label, row, {n: run(row.folder, n) for n in numbers}) for row in table.rows
    ]
    return TablePlan(table, planned)
