"""Runs the rows of the paper's tables and prints the tables.

    python tools/run_ablations.py --dataset LLCM --table S1 --seeds 0 1 2
    python tools/run_ablations.py --dataset Synthetic --table all --seeds 0 1 2 --jobs 2

A second call repeats no finished run and goes on with the others. Synthetic is drawn first if it is
not there. Exit code 1 if a run failed.
"""

from wrimnet.command_line import add_several, called_as, make_parser, parse, run_tool
from wrimnet.lab.experiments.experiment_command import (
    INTERRUPTED,
    add_experiment_options,
    draw_if_missing,
    make_setting,
    work_through,
)
from wrimnet.lab.experiments.experiment_report import report_folders
from wrimnet.lab.experiments.plans import TABLES, plan_rows, rows_of


def main() -> int:
    """Runs what is not yet done, then prints and writes the report; returns the exit code."""
    parser = make_parser(__doc__)
    parser.add_argument("--table", required=True, choices=(*TABLES, "all"), help="which rows")
    add_several(parser, "--seeds", kind=int, default=[0], help="runs of each row")
    add_experiment_options(parser)
    args = parse(parser)
    setting = make_setting(args, "logs/experiments/{dataset}")
    draw_if_missing(setting)
    runs = plan_rows(setting, rows_of(args.table), args.seeds)
    code = work_through(runs, args, costs=True)
    if code == INTERRUPTED:
        return code
    tables = list(TABLES) if args.table == "all" else [args.table]
    folders = [run.folder for run in runs]
    report = report_folders(folders, tables=tables, command=called_as())
    print(report.for_console())
    for path in report.write(setting.folder / f"report_{args.table}"):
        print(path)
    return code


if __name__ == "__main__":
    run_tool(main)
