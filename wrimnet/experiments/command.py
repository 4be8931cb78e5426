"""What the tools that run experiments share: their options, and working through their runs."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from wrimnet.config import setup_cfg
from wrimnet.experiments.invocation import called_as, seen_from_here
from wrimnet.experiments.plans import DATASETS, Setting
from wrimnet.experiments.queue_progress import QueueProgress
from wrimnet.experiments.records import COST_FILE
from wrimnet.experiments.run_queue import Failure, RunQueue
from wrimnet.experiments.runs import Run, read_results
from wrimnet.experiments.slots import Slot, make_slots, visible_gpus

INTERRUPTED = 130


def add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of every tool that runs experiments."""
    parser.add_argument(
        "--overlay", action="append", default=[], metavar="FILE", help="YAML laid over every run"
    )
    parser.add_argument(
        "--overrides", nargs="*", default=[], metavar="KEY VALUE", help="keys laid over every run"
    )
    parser.add_argument("--gpus", nargs="*", help="GPUs to use; default: all visible, none: CPU")
    parser.add_argument("--jobs", type=int, help="runs at once; default: one per GPU, on CPU one")
    parser.add_argument("--threads", type=int, help="CPU threads of a run; default: cores / jobs")
    parser.add_argument("--out", type=Path, help="folder of the runs")
    parser.add_argument("--traceback", action="store_true", help="show the stack of an error")


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the choice of the dataset and of the seeds."""
    parser.add_argument("--dataset", required=True, choices=DATASETS, help="folder of configs/")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="runs of each kind")


def make_setting(args: argparse.Namespace, *, dataset: str, project: Path, place: str) -> Setting:
    """Returns what all runs share.

    Args:
        args: of the command line.
        dataset: one of ``DATASETS``.
        project: folder with ``configs`` and ``tools``.
        place: folder of the runs if --out does not name one.
    """
    return Setting(
        dataset=dataset,
        configs=seen_from_here(project / "configs"),
        folder=args.out or Path(place),
        overlays=tuple(args.overlay),
        overrides=(*args.overrides, *(("MODEL.DEVICE", "cpu") if args.gpus == [] else ())),
        command=called_as(),
    )


def setup_dataset(args: argparse.Namespace, *, project: Path) -> Setting:
    """Returns the setting of --dataset; draws the Synthetic dataset if it is not there."""
    place = f"logs/experiments/{args.dataset}"
    setting = make_setting(args, dataset=args.dataset, project=project, place=place)
    if setting.dataset != "Synthetic":
        return setting
    cfg = setup_cfg(setting.config_file(), setting.overlays, setting.overrides)
    root = Path(cfg.DATASETS.ROOT)
    if not (root / "LLCM").exists():
        workers = str(os.cpu_count() or 1)
        words = ["--layout", "llcm", "--out", str(root), "--workers", workers]
        tool = project / "tools" / "make_synthetic.py"
        subprocess.run([sys.executable, str(tool), *words], check=True)
    return setting


def work_through(runs: Sequence[Run], args: argparse.Namespace, *, tools: Path, costs: bool) -> int:
    """Runs what is not done, measures what each network costs, tells what failed.

    Args:
        runs: what to run.
        args: of the command line.
        tools: folder of ``train_net.py`` and ``measure_cost.py``.
        costs: whether to measure.

    Returns:
        Exit code: 0, 1 if a run failed, 130 after an interruption.
    """
    gpus = visible_gpus(torch.cuda.device_count()) if args.gpus is None else args.gpus
    slots = make_slots(gpus, args.jobs, args.threads)
    train = (sys.executable, str(tools / "train_net.py"))
    try:
        failures = RunQueue(runs, command=train, slots=slots, progress=QueueProgress()).work()
        if costs:
            measure_costs(runs, tools / "measure_cost.py", slots[0])
    except KeyboardInterrupt:
        print("interrupted; the same call goes on from here", file=sys.stderr)
        return INTERRUPTED
    return tell_failures(failures)


def measure_costs(runs: Sequence[Run], tool: Path, slot: Slot) -> None:
    """Measures each network once, alone on the machine, on the first finished run that has it."""
    first: dict[str, Run] = {}
    measured = set()
    for run in runs:
        network = run.name.rpartition("/")[0]
        if (run.folder / COST_FILE).exists():
            measured.add(network)
        elif read_results(run.folder):
            first.setdefault(network, run)
    folders = [str(run.folder) for network, run in first.items() if network not in measured]
    if folders:
        threads = slot.environment["OMP_NUM_THREADS"]
        words = [sys.executable, str(tool), "--threads", threads, *folders]
        subprocess.run(words, env={**os.environ, **slot.environment}, check=True)


def tell_failures(failures: Sequence[Failure]) -> int:
    """Lists the failed runs with their logs; returns 1 if there are any, else 0."""
    for failure in failures:
        print(f"FAILED {failure.run.name}: {failure.reason}\n  log: {failure.log}", file=sys.stderr)
    if failures:
        print(f"{len(failures)} runs failed; the same call tries them again", file=sys.stderr)
    return 1 if failures else 0
