"""Trains the runs of tables; reports means, paired differences with intervals, and costs.

    python tools/run_table.py configs/tables/s1.yml --dataset LLCM --seeds 0 1 2
    python tools/run_table.py my/table.yml --gpus 0 1 --jobs 4
    python tools/run_table.py my/table.yml --slurm partition=gpu gpus_per_node=1 timeout_min=720

A table is a YAML file, described in docs/experiments.md. Finished runs are skipped and
interrupted ones continue: call it again after an interruption. Machines that share the folder and
call it share the runs. Exit code 1 if a run failed.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wrimnet.command_line import (
    INTERRUPTED,
    add_config_options,
    add_several,
    called_as,
    make_parser,
    output_folder,
    parse,
    run_tool,
    seen_from_here,
)
from wrimnet.config.merge import Layer, layer_of_words, read_overlay_file
from wrimnet.lab.experiments.experiment_report import WholeReport, chance_fact, facts_of
from wrimnet.lab.experiments.grid_figure import draw_grids
from wrimnet.lab.experiments.plans import Setting, TablePlan, make_plan, runs_of
from wrimnet.lab.experiments.run_queue import work_through_queue
from wrimnet.lab.experiments.runs import (
    DONE,
    FAILED,
    Attempt,
    ExperimentRun,
    State,
    describe_changes,
    is_done,
    resume_words,
)
from wrimnet.lab.experiments.slots import choose_gpus, make_slots, thread_variables
from wrimnet.lab.experiments.slurm_jobs import Cluster, work_through_jobs
from wrimnet.lab.experiments.table_file import TableFile, read_table
from wrimnet.lab.experiments.table_report import make_report
from wrimnet.run_folder import CONSOLE
from wrimnet.tables import counted, for_console
from wrimnet.visualization.drawing import import_matplotlib, save_figure

PROJECT = Path(__file__).resolve().parents[1]


def parse_arguments() -> Any:
    """Reads the command line."""
    parser = make_parser(__doc__)
    add_several(parser, "tables", metavar="TABLE", help="YAML files")
    parser.add_argument("--dataset", default="", help="folder of configs/, for {dataset}")
    add_config_options(parser)
    add_several(parser, "--seeds", kind=int, help="runs of each row; default: the table's")
    parser.add_argument("--out", type=output_folder, metavar="DIR", help="folder of the runs")
    parser.add_argument("--report", type=Path, metavar="STEM", help="write STEM.md, STEM.tex ...")
    add_several(parser, "--gpus", nargs="*", help="default: all visible; without a name: the CPU")
    parser.add_argument("--jobs", type=int, help="runs at once; default: one per GPU, on CPU one")
    parser.add_argument("--threads", type=int, help="CPU threads of a run; default: cores / jobs")
    slurm_help = "run each as a job, with options such as partition=gpu gpus_per_node=1"
    add_several(parser, "--slurm", nargs="*", metavar="NAME=VALUE", help=slurm_help)
    parser.add_argument("--max-jobs", type=int, help="with --slurm: jobs at once")
    parser.add_argument(
        "--retry", action="store_true", help="with --detach: submit failed runs again"
    )
    parser.add_argument("--shard", metavar="I/N", help="only every N-th run, from the I-th on")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--detach", action="store_true", help="submit and return; again: report their states"
    )
    how.add_argument("--cancel", action="store_true", help="end the jobs")
    how.add_argument("--list", action="store_true", help="print a command per run, start nothing")
    how.add_argument("--report-only", action="store_true", help="report what is finished")
    args = parse(parser)
    for name in ("max_jobs", "detach", "retry", "cancel"):
        if getattr(args, name) and args.slurm is None:
            parser.error(f"--{name.replace('_', '-')} belongs to --slurm")
    return args


def main() -> int:
    """Trains what is not done, then reports; returns the exit code."""
    args = parse_arguments()
    check_own_keys(args)
    tables = read_tables(args)
    folder = args.out or Path(tables[0].out)
    cluster = None if args.slurm is None else Cluster(folder / "jobs", args.slurm, args.max_jobs)
    trains = not (args.list or args.cancel or args.report_only)
    plans = make_plans(tables, args, cluster, needs_data=trains)
    runs = shard_of(runs_of(plans), args.shard)
    if args.list:
        return list_commands(runs)
    if args.cancel and cluster:
        print(f"{counted(cluster.cancel(runs), 'job')} cancelled")
        return 0
    try:
        states = train(plans, runs, cluster, args) if trains else []
    except KeyboardInterrupt:
        going = "the jobs go on, --cancel ends them; " if cluster else ""
        print(f"interrupted; {going}the same call continues", file=sys.stderr)
        return INTERRUPTED
    show(plans, args.report or folder / "_".join(["report", *(t.path.stem for t in tables)]))
    return tell(states)


def read_tables(args: Any) -> list[TableFile]:
    """Reads the tables that the command line names."""
    args.dataset, project = spelt(args.dataset), seen_from_here(PROJECT)
    words = {"dataset": args.dataset, "config": args.config_file, "project": project}
    tables = [read_table(file, **words) for file in args.tables]
    for file in {row.config for table in tables for row in table.rows} if args.dataset else ():
        if not Path(file).is_file():
            raise FileNotFoundError(
                f"--dataset {args.dataset} needs {file}, which does not exist; configs/ has "
                f"{', '.join(known_datasets())}; for a dataset of your own write that file, with "
                "its module in PLUGINS"
            )
    if any(table.grid for table in tables):
        import_matplotlib()  # a missing one is an error before the runs, not after them
    return tables


def make_plans(
    tables: Sequence[TableFile], args: Any, cluster: Cluster | None, *, needs_data: bool
) -> list[TablePlan]:
    """Plans every run; makes the synthetic data if they are needed and missing."""
    from wrimnet.lab.experiments.preparation import make_synthetic_if_missing

    on_cpu = not cluster.uses_gpus if cluster else args.gpus == []
    setting = Setting(
        folder=args.out or Path(tables[0].out),
        dataset=args.dataset,
        overlays=tuple(args.overlay),
        overrides=(*args.overrides, *(("MODEL.DEVICE", "cpu") if on_cpu else ())),
        command=called_as(),
        has_device=(cluster is None or on_cpu) if needs_data or cluster else None,
    )
    if needs_data:
        make_synthetic_if_missing(tables[0], setting, PROJECT / "tools" / "make_synthetic.py")
    return [
        make_plan(t, setting._replace(folder=args.out or Path(t.out)), args.seeds or t.seeds)
        for t in tables
    ]


def check_own_keys(args: Any) -> None:
    """Refuses keys that every run has of its own."""
    layers = [layer_of_words(args.overrides)]
    layers += [Layer(file, read_overlay_file(file)) for file in args.overlay]
    for layer in layers:
        for key, flag in {"OUTPUT_DIR": "--out DIR", "SEED": "--seeds"}.items():
            if key in layer.content:
                raise ValueError(f"{key} in {layer.source}: each run sets its own; give {flag}")


def spelt(dataset: str) -> str:
    """Returns the folder of configs/ of a dataset that is spelt as people do: SYSU-MM01, llcm."""
    letters = dataset.lower().replace("-", "").replace("_", "").removesuffix("mm01")
    return next((name for name in known_datasets() if name.lower() == letters), dataset)


def known_datasets() -> list[str]:
    """Lists the datasets that configs/ has configurations of."""
    return sorted(path.parent.name for path in (PROJECT / "configs").glob("*/wrim.yml"))


def shard_of(runs: Sequence[ExperimentRun], shard: str | None) -> Sequence[ExperimentRun]:
    """Returns every N-th run from the I-th on for "I/N", all for None."""
    first, _, number = (shard or "1/1").partition("/")
    if not (first.isdigit() and number.isdigit() and 1 <= int(first) <= int(number)):
        raise ValueError(f"--shard {shard}: expected I/N, such as 2/8 for every eighth run")
    return runs[int(first) - 1 :: int(number)]


def list_commands(runs: Sequence[ExperimentRun]) -> int:
    """Prints a command for each run that is not done, and which runs start again and why."""
    print(*(command_of(run) for run in runs if not is_done(run)), sep="\n")
    for sentence in describe_changes(runs):
        print(sentence, file=sys.stderr)
    return 0


def command_of(run: ExperimentRun) -> str:
    """Writes the command that trains a run."""
    tool = seen_from_here(PROJECT) / "tools" / "train_net.py"
    return shlex.join(["python", str(tool), *resume_words(run), *run.arguments])


def train(
    plans: Sequence[TablePlan], runs: Sequence[ExperimentRun], cluster: Cluster | None, args: Any
) -> list[State]:
    """Trains what is not done, here or on the cluster; returns the runs that are not done."""
    import torch

    from wrimnet.lab.experiments.preparation import measure_costs, prepare_data

    print(*(f"{sentence}\n" for sentence in describe_changes(runs)), sep="", end="")
    command = [sys.executable, str(PROJECT / "tools" / "train_net.py"), "--no-report"]
    if cluster:
        prepare_data(runs)
        attempts = job_attempts(cluster, plans, runs, command)
        retry = args.retry or not args.detach
        states = work_through_jobs(attempts, cluster, wait=not args.detach, retry=retry)
        return [state for state in states if state.kind != DONE]
    gpus = choose_gpus(args.gpus, torch.cuda.device_count())
    room = make_slots(gpus, args.jobs, args.threads)
    prepare_data(runs)
    states = work_through_queue(runs, command=command, slots=room)
    measure_costs(plans, PROJECT / "tools" / "measure_cost.py", room[0].environment)
    return states


def job_attempts(
    cluster: Cluster,
    plans: Sequence[TablePlan],
    runs: Sequence[ExperimentRun],
    command: Sequence[str],
) -> list[Attempt]:
    """Returns what the job of each run does: the first of a row measures its costs as well."""
    from wrimnet.lab.experiments.preparation import cost_command

    command = [*command, *(["--num-gpus", str(cluster.num_gpus)] * (cluster.num_gpus > 1))]
    tool, environment = PROJECT / "tools" / "measure_cost.py", thread_variables(cluster.threads)
    costs: dict[Path, list[str]] = {}
    for plan in plans:
        for folder in (next(iter(row.runs.values())).folder for row in plan.rows):
            costs[folder] = [*cost_command(plan, tool, cluster.threads), str(folder)]
    return [Attempt(r, command, environment, afterwards=costs.get(r.folder, ())) for r in runs]


def show(plans: Sequence[TablePlan], stem: Path) -> None:
    """Prints the report, writes its files, draws the grids."""
    reports = tuple(make_report(plan) for plan in plans)
    records = list({r.folder: r for report in reports for r in report.records}.values())
    chance = [chance_fact(records[0])] if any(plan.table.chance for plan in plans) else []
    report = WholeReport((*facts_of(records, called_as()), *chance), reports)
    print(*chance, *map(for_console, report.tables), sep="\n\n")
    paths = report.write(stem)
    if grids := [report for report in reports if report.points]:
        figure = draw_grids(grids, str(records[0].about["dataset"]))
        paths += save_figure(figure, stem.parent, stem.name)
    print(*paths, sep="\n")


def tell(states: Sequence[State]) -> int:
    """Lists the runs that are not done, failures with reason and log; returns the exit code."""
    for kind, reason in dict.fromkeys((state.kind, state.reason) for state in states):
        alike = [state.run for state in states if (state.kind, state.reason) == (kind, reason)]
        said = f": {reason}\n  log: {alike[0].folder / CONSOLE}" if kind == FAILED else ""
        print(f"{kind.upper()} {', '.join(run.name for run in alike)}{said}", file=sys.stderr)
    if not any(state.kind == FAILED for state in states):
        return 0
    print(
        "fix the cause and run the same command again: finished runs are skipped", file=sys.stderr
    )
    return 1


if __name__ == "__main__":
    run_tool(main)
