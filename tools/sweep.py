"""Varies one key, all others fixed, and draws Rank-1 and mAP over its values.

    python tools/sweep.py --dataset LLCM --figure S1 --seeds 0 1 2
    python tools/sweep.py --dataset LLCM --key MODEL.WRIM.CMKIC.TEMPERATURE --values 0.05 0.07 0.1
    python tools/sweep.py --dataset LLCM --key MODEL.WRIM.MIIM.REDUCTION --values "(4,4,4,4)"

Figure S1 is lambda1 varied with lambda2 = 0.1, then lambda2 with lambda1 = 0.5. The value that the
dataset's wrim.yml has is WRIM-Net's own run and shared with tools/run_ablations.py. A second call
repeats no finished run. Exit code 1 if a run failed.
"""

from pathlib import Path
from typing import Any

from wrimnet.command_line import add_several, make_parser, parse, run_tool
from wrimnet.lab.experiments.experiment_command import (
    INTERRUPTED,
    add_experiment_options,
    draw_if_missing,
    make_setting,
    work_through,
)
from wrimnet.lab.experiments.plans import FIGURE_S1, ExperimentRun, Setting, path_word, plan_sweep
from wrimnet.lab.experiments.records import read_records
from wrimnet.lab.experiments.row_report import make_sweep, sweep_table
from wrimnet.lab.experiments.sweep_figure import draw_sweeps
from wrimnet.tables import for_console
from wrimnet.visualization.drawing import import_matplotlib, save_figure


def parse_arguments() -> Any:
    """Reads the command line."""
    parser = make_parser(__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--figure", choices=["S1"], help="the paper's sweep over both lambdas")
    what.add_argument("--key", help="configuration key; train_net.py --help-config lists them")
    add_several(parser, "--values", default=None, help="values of --key")
    add_several(parser, "--seeds", kind=int, default=[0], help="runs of each value")
    parser.add_argument("--figure-out", type=Path, metavar="STEM", help="figure without its suffix")
    add_experiment_options(parser)
    args = parse(parser)
    if bool(args.key) != bool(args.values):
        parser.error("--key and --values belong together; --figure S1 has its own values")
    return args


def main() -> int:
    """Runs what is not yet done, then prints the tables and draws; returns the exit code."""
    args = parse_arguments()
    import_matplotlib()  # a missing one is told before the runs, not after them
    setting = make_setting(args, "logs/experiments/{dataset}")
    draw_if_missing(setting)
    grid = {args.key: args.values} if args.key else FIGURE_S1
    runs = {key: plan_sweep(setting, key, values, args.seeds) for key, values in grid.items()}
    every = {run.name: run for own in runs.values() for run in own}
    code = work_through(list(every.values()), args, costs=True)
    return code if code == INTERRUPTED else show(args, setting, runs) or code


def show(args: Any, setting: Setting, runs: dict[str, list[ExperimentRun]]) -> int:
    """Prints a table per key and draws the figure; returns 0."""
    folders = {key: [run.folder for run in own] for key, own in runs.items()}
    sweeps = [(key, make_sweep(key, read_records(places))) for key, places in folders.items()]
    for _, report in sweeps:
        print(for_console(sweep_table(report)))
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
