"""Trains and tests one model per RegDB split and prints their mean and standard deviation.

    python tools/run_splits.py
    python tools/run_splits.py --config baseline.yml --gpus 0 1 --jobs 2

A second call repeats no finished split. Nothing else in this project averages over splits.
Exit code 1 if a run failed.
"""

import argparse
from pathlib import Path

from wrimnet.command_line import run_tool
from wrimnet.experiments.command import (
    INTERRUPTED,
    add_shared_arguments,
    make_setting,
    work_through,
)
from wrimnet.experiments.plans import REGDB_SPLITS, plan_splits
from wrimnet.experiments.records import read_records
from wrimnet.experiments.split_report import split_table
from wrimnet.experiments.tables import comma_separated, latex, markdown

PROJECT = Path(__file__).resolve().parents[1]


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="wrim.yml", help="file of configs/RegDB")
    parser.add_argument("--splits", nargs="+", type=int, default=list(REGDB_SPLITS), help="1 to 10")
    parser.add_argument("--seed", type=int, default=0, help="SEED of every split")
    add_shared_arguments(parser)
    return parser.parse_args()


def main() -> int:
    """Runs what is not yet done, then prints and writes the table; returns the exit code."""
    args = parse_arguments()
    place = f"logs/splits/{Path(args.config).stem}"
    setting = make_setting(args, dataset="RegDB", project=PROJECT, place=place)
    runs = plan_splits(setting, args.config, args.splits, args.seed)
    code = work_through(runs, args, tools=PROJECT / "tools", costs=False)
    if code == INTERRUPTED:
        return code
    table = split_table(read_records([run.folder for run in runs]), args.splits)
    print(markdown(table))
    for suffix, write in (("md", markdown), ("tex", latex), ("csv", comma_separated)):
        path = setting.folder / f"splits.{suffix}"
        path.write_text(write(table), encoding="utf-8")
        print(path)
    return code


if __name__ == "__main__":
    run_tool(main)
