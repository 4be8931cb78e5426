"""Prints and writes what finished runs say: the paper's tables, sweeps, costs. Reads files only.

    python tools/report.py logs/experiments/LLCM --out docs/results_llcm

RUNS are folders of tools/run_ablations.py and tools/sweep.py, or above them. Runs that are not
there are dashes; runs that must not share a column are an error.
"""

import argparse
from pathlib import Path

from wrimnet.command_line import run_tool
from wrimnet.experiments.invocation import called_as
from wrimnet.experiments.report import report_folders
from wrimnet.experiments.rows import TABLES


def main() -> int:
    """Prints the report and writes its three forms; returns 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="folders")
    parser.add_argument("--table", nargs="+", choices=list(TABLES), default=[], help="only these")
    parser.add_argument(
        "--out", type=Path, metavar="STEM", help="write STEM.md, STEM.tex, STEM.csv"
    )
    parser.add_argument(
        "--notes", type=Path, metavar="FILE", help="Markdown to stand above the tables"
    )
    parser.add_argument("--traceback", action="store_true", help="show the stack of an error")
    args = parser.parse_args()
    notes = args.notes.read_text(encoding="utf-8") if args.notes else ""
    report = report_folders(args.runs, tables=args.table, command=called_as(), notes=notes)
    print(report.markdown())
    for path in report.write(args.out or args.runs[0] / "report"):
        print(path)
    return 0


if __name__ == "__main__":
    run_tool(main)
