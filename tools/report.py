"""Prints and writes what finished runs say: the paper's tables, sweeps, costs. Reads files only.

    python tools/report.py logs/experiments/LLCM --out docs/results_llcm

RUNS are folders of tools/run_ablations.py and tools/sweep.py, or above them. Runs that are not
there are dashes; runs that must not share a column are an error.
"""

from pathlib import Path

from wrimnet.atomic_files import require_file
from wrimnet.command_line import add_several, called_as, make_parser, parse, run_tool
from wrimnet.lab.experiments.experiment_report import report_folders
from wrimnet.lab.experiments.plans import TABLES


def main() -> int:
    """Prints the report and writes its three forms; returns 0."""
    parser = make_parser(__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="folders")
    add_several(parser, "--table", default=[], help=f"only these of {', '.join(TABLES)}")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="STEM",
        help="write STEM.md, .tex and .csv; default: RUNS/report",
    )
    parser.add_argument(
        "--notes", type=Path, metavar="FILE", help="Markdown to stand above the tables"
    )
    args = parse(parser)
    if args.notes:
        require_file(args.notes, "--notes")
    notes = args.notes.read_text(encoding="utf-8") if args.notes else ""
    report = report_folders(args.runs, tables=args.table, command=called_as(), notes=notes)
    print(report.for_console())
    for path in report.write(args.out or args.runs[0] / "report"):
        print(path)
    return 0


if __name__ == "__main__":
    run_tool(main)
