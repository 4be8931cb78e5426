"""Varies one key, all others fixed, and draws Rank-1 and mAP over its values.

    python tools/sweep.py --dataset LLCM --figure S1 --seeds 0 1 2
    python tools/sweep.py --dataset LLCM --key MODEL.WRIM.CMKIC.TEMPERATURE --values 0.05 0.07 0.1
    python tools/sweep.py --dataset LLCM --key MODEL.WRIM.MIIM.REDUCTION --values "(4,4,4,4)"

Figure S1 is lambda1 varied with lambda2 = 0.1, then lambda2 with lambda1 = 0.5. The value that the
dataset's wrim.yml has is WRIM-Net's own run and shared with tools/run_ablations.py. A second call
repeats no finished run. Exit code 1 if a run failed.
"""

import argparse
from pathlib import Path

from wrimnet.analysis.figure_files import import_matplotlib, save_figure
from wrimnet.command_line import run_tool
from wrimnet.experiments.command import (
    INTERRUPTED,
    add_dataset_arguments,
    add_shared_arguments,
    setup_dataset,
    work_through,
)
from wrimnet.experiments.plans import FIGURE_S1, Setting, path_word, plan_sweep
from wrimnet.experiments.records import read_records
from wrimnet.experiments.runs import Run
from wrimnet.experiments.sweep_figure import draw_sweeps
from wrimnet.experiments.sweep_report import make_sweep, sweep_table
from wrimnet.experiments.tables import markdown

PROJECT = Path(__file__).resolve().parents[1]


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_dataset_arguments(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--figure", choices=["S1"], help="the paper's sweep over both lambdas")
    what.add_argument("--key", help="configuration key; train_net.py --help-config lists them")
    parser.add_argument("--values", nargs="+", help="values of --key")
    parser.add_argument("--figure-out", type=Path, metavar="STEM", help="figure without its suffix")
    add_shared_arguments(parser)
    args = parser.parse_args()
    if bool(args.key) != bool(args.values):
        parser.error("--key and --values belong together; --figure S1 has its own values")
    return args


def main() -> int:
    """Runs what is not yet done, then prints the tables and draws; returns the exit code."""
    args = parse_arguments()
    import_matplotlib()  # a missing one is told before the runs, not after them
    setting = setup_dataset(args, project=PROJECT)
    grid = {args.key: args.values} if args.key else FIGURE_S1
    runs = {key: plan_sweep(setting, key, values, args.seeds) for key, values in grid.items()}
    every = {run.name: run for own in runs.values() for run in own}
    code = work_through(list(every.values()), args, tools=PROJECT / "tools", costs=True)
    return code if code == INTERRUPTED else show(args, setting, runs) or code


def show(args: argparse.Namespace, setting: Setting, runs: dict[str, list[Run]]) -> int:
    """Prints a table per key and draws the figure; returns 0."""
    folders = {key: [run.folder for run in own] for key, own in runs.items()}
    sweeps = [(key, make_sweep(key, read_records(places))) for key, places in folders.items()]
    for _, report in sweeps:
        print(markdown(sweep_table(report)))
    name = f"figure_{args.figure}" if args.figure else f"sweep_{path_word(args.key)}"
    word = "seed" if len(args.seeds) == 1 else "seeds"
    title = f"{setting.dataset}, {word} {', '.join(map(str, args.seeds))}"
    figure = draw_sweeps(sweeps, title)
    stem = args.figure_out or setting.folder / name
    for path in save_figure(figure, stem.parent, stem.name):
        print(path)
    return 0


if __name__ == "__main__":
    run_tool(main)
