"""Runs the rows of the paper's tables and prints the tables.

    python tools/run_ablations.py --dataset LLCM --table S1 --seeds 0 1 2
    python tools/run_ablations.py --dataset Synthetic --table all --seeds 0 1 2 --jobs 2

A second call repeats no finished run and goes on with the others. Synthetic is drawn first if it is
not there. Exit code 1 if a run failed.
"""

import argparse
from pathlib import Path

from wrimnet.command_line import run_tool
from wrimnet.experiments.command import (
    INTERRUPTED,
    add_dataset_arguments,
    add_shared_arguments,
    setup_dataset,
    work_through,
)
from wrimnet.experiments.invocation import called_as
from wrimnet.experiments.plans import plan_rows
from wrimnet.experiments.report import report_folders
from wrimnet.experiments.rows import TABLES, rows_of

PROJECT = Path(__file__).resolve().parents[1]


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_dataset_arguments(parser)
    parser.add_argument("--table", required=True, choices=(*TABLES, "all"), help="which rows")
    add_shared_arguments(parser)
    return parser.parse_args()


def main() -> int:
    """Runs what is not yet done, then prints and writes the report; returns the exit code."""
    args = parse_arguments()
    setting = setup_dataset(args, project=PROJECT)
    runs = plan_rows(setting, rows_of(args.table), args.seeds)
    code = work_through(runs, args, tools=PROJECT / "tools", costs=True)
    if code == INTERRUPTED:
        return code
    tables = list(TABLES) if args.table == "all" else [args.table]
    folders = [run.folder for run in runs]
    report = report_folders(folders, tables=tables, command=called_as())
    print(report.markdown())
    for path in report.write(setting.folder / f"report_{args.table}"):
        print(path)
    return code


if __name__ == "__main__":
    run_tool(main)
