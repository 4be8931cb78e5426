"""Trains and tests one model per division of a dataset; prints their mean and standard deviation.

    python tools/run_splits.py
    python tools/run_splits.py --config baseline.yml --gpus 0 1 --jobs 2

RegDB has ten, and its published numbers are means over them. A second call repeats no finished
split. Exit code 1 if a run failed.
"""

import csv
import io
from pathlib import Path

from wrimnet.atomic_files import write_text
from wrimnet.command_line import add_several, make_parser, parse, run_tool
from wrimnet.lab.experiments.experiment_command import (
    INTERRUPTED,
    add_experiment_options,
    make_setting,
    work_through,
)
from wrimnet.lab.experiments.plans import plan_splits
from wrimnet.lab.experiments.records import read_records
from wrimnet.lab.experiments.split_report import split_table
from wrimnet.tables import Table, for_console, latex, markdown


def main() -> int:
    """Runs what is not yet done, then prints and writes the table; returns the exit code."""
    parser = make_parser(__doc__)
    parser.add_argument("--config", default="wrim.yml", help="file of the dataset's folder")
    add_several(parser, "--splits", kind=int, default=[], help="default: all")
    parser.add_argument("--seed", type=int, default=0, help="SEED of every split")
    add_experiment_options(parser, dataset="RegDB")
    args = parse(parser)
    setting = make_setting(args, f"logs/splits/{Path(args.config).stem}")
    runs = plan_splits(setting, args.config, args.splits, args.seed)
    code = work_through(runs, args, costs=False)
    if code == INTERRUPTED:
        return code
    splits = [run.about["split"] for run in runs]
    table = split_table(read_records([run.folder for run in runs]), splits)
    print(for_console(table))
    for suffix, write in (("md", markdown), ("tex", latex), ("csv", comma_separated)):
        path = setting.folder / f"splits.{suffix}"
        write_text(path, write(table))
        print(path)
    return code


def comma_separated(table: Table) -> str:
    """Writes a table as CSV."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([table.header, *table.rows])
    return file.getvalue()


if __name__ == "__main__":
    run_tool(main)
