"""What the tools that run experiments share: their options, and working through their runs."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wrimnet.command_line import (
    INTERRUPTED,
    add_config_options,
    add_several,
    called_as,
    seen_from_here,
)
from wrimnet.config import setup_cfg
from wrimnet.config.merge import Layer, layer_of_words, read_overlay_file
from wrimnet.lab.experiments.plans import ExperimentRun, Setting, is_done, setup_planned_cfg
from wrimnet.lab.experiments.run_queue import (
    AlikeFailuresError,
    Failure,
    Slot,
    work_through_queue,
)
from wrimnet.lab.experiments.slots import choose_gpus, make_slots
from wrimnet.run_folder import COST, find_results, read_results
from wrimnet.tables import counted

PROJECT = Path(__file__).resolve().parents[3]
GENERATED = "Synthetic"  # the dataset that is drawn where it is missing


def add_experiment_options(parser: Any, *, dataset: str | None = None) -> None:
    """Adds the options of every tool that runs experiments; ``dataset`` is the default."""
    parser.add_argument("--dataset", default=dataset, help="folder of configs/, such as LLCM")
    add_config_options(parser)
    gpus_help = "GPUs to use; default: all visible, none given: CPU"
    add_several(parser, "--gpus", nargs="*", help=gpus_help)
    parser.add_argument("--jobs", type=int, help="runs at once; default: one per GPU, on CPU one")
    parser.add_argument("--threads", type=int, help="CPU threads of a run; default: cores / jobs")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the runs")
    parser.add_argument("--report", action="store_true", help="figures and a report of each run")


def make_setting(args: Any, place: str) -> Setting:
    """Returns what all runs share; ``place`` is their folder if --out names none.

    Raises:
        ValueError: neither --dataset nor --config-file.
        FileNotFoundError: there are no such configurations.
    """
    if not (args.dataset or args.config_file):
        raise ValueError("which dataset? give --dataset, a folder of configs/, or --config-file")
    configs = PROJECT / "configs" / (args.dataset or "")
    if args.config_file:
        configs = Path(args.config_file).parent
    elif not (configs / "wrim.yml").is_file():
        configs = _spelt_otherwise(configs)
    _check_own_keys(args)
    return Setting(
        configs=seen_from_here(configs),
        ablations=seen_from_here(PROJECT / "configs" / "ablation"),
        folder=args.out or Path(place.format(dataset=configs.name)),
        overlays=tuple(args.overlay),
        overrides=(*args.overrides, *(("MODEL.DEVICE", "cpu") if args.gpus == [] else ())),
        command=called_as(),
    )


def _check_own_keys(args: Any) -> None:
    """Refuses keys that every run of an experiment has of its own."""
    layers = [layer_of_words(args.overrides)]
    layers += [Layer(file, read_overlay_file(file)) for file in args.overlay]
    for layer in layers:
        for key, flag in {"OUTPUT_DIR": "--out DIR", "SEED": "--seeds or --seed"}.items():
            if key in layer.content:
                raise ValueError(f"{key} in {layer.source}: every run has its own; give {flag}")


def _spelt_otherwise(configs: Path) -> Path:
    """The folder of configurations whose name is spelt as people do: "SYSU-MM01", "llcm"."""
    wanted = configs.name.lower().replace("-", "").replace("_", "")
    known = sorted(path.parent for path in configs.parent.glob("*/wrim.yml"))
    for folder in known:
        if wanted in (folder.name.lower(), f"{folder.name.lower()}mm01"):
            return folder
    raise FileNotFoundError(
        f"--dataset {configs.name}: there is no {configs / 'wrim.yml'}; there are "
        f"{', '.join(folder.name for folder in known)}, or name a file by --config-file"
    )


def draw_if_missing(setting: Setting) -> None:
    """Draws the generated dataset if it is asked for and not there."""
    from wrimnet.data.build import build_dataset_folder

    if setting.dataset != GENERATED:
        return
    folder = build_dataset_folder(setting.setup())
    if folder.exists():
        return
    usual = build_dataset_folder(setup_cfg(str(setting.configs / "wrim.yml")))
    if folder != usual:
        raise FileNotFoundError(
            f"there is no {folder}; without DATASETS.ROOT the data are drawn into {usual}"
        )
    out, workers = str(folder.parent), str(os.cpu_count() or 1)
    words = ["--layout", "llcm", "--out", out, "--workers", workers]
    tool = PROJECT / "tools" / "make_synthetic.py"
    subprocess.run([sys.executable, str(tool), *words], check=True)


def work_through(runs: Sequence[ExperimentRun], args: Any, *, costs: bool) -> int:
    """Runs what is not done, measures each network's costs if asked to, tells what failed.

    Returns the exit code: 0, 1 if a run failed, 130 after an interruption.
    """
    import torch

    gpus = choose_gpus(args.gpus, torch.cuda.device_count())
    slots = make_slots(gpus, args.jobs, args.threads)
    train = (sys.executable, str(PROJECT / "tools" / "train_net.py"))
    _check_data(runs)
    try:
        failures = work_through_queue(
            runs, command=train if args.report else (*train, "--no-report"), slots=slots
        )
        if costs:
            _measure_costs(runs, PROJECT / "tools" / "measure_cost.py", slots[0])
    except KeyboardInterrupt:
        print("interrupted; the same call goes on from here", file=sys.stderr)
        return INTERRUPTED
    except AlikeFailuresError as error:
        print(error, file=sys.stderr)
        failures = error.failures
    return _tell_failures(failures)


def _check_data(runs: Sequence[ExperimentRun]) -> None:
    """Reads the dataset, once per split, so that what is wrong is told before anything starts.

    Raises:
        FileNotFoundError, ValueError: of the dataset, or a run is done that had other images.
    """
    from wrimnet.data.build import build_dataset
    from wrimnet.data.images import fingerprint

    images: dict[Any, str] = {}
    for run in runs:
        split, known = run.about.get("split"), None
        if is_done(run):
            known = read_results(run.folder)["description"].get("images")
            if known is None:  # of before results said it
                continue
        if split not in images:
            images[split] = fingerprint(build_dataset(setup_planned_cfg(run.about)).test)
        if known not in (None, images[split]):
            raise ValueError(
                f"{run.folder} holds results on other images than the dataset has now; name the "
                "DATASETS.ROOT of before, or choose another --out"
            )


def _measure_costs(runs: Sequence[ExperimentRun], tool: Path, slot: Slot) -> None:
    """Measures each network once, alone on the machine, on the first finished run that has it."""
    first: dict[str, ExperimentRun] = {}
    measured = set()
    for run in runs:
        network = run.name.rpartition("/")[0]
        if (run.folder / COST).exists():
            measured.add(network)
        elif find_results(run.folder):
            first.setdefault(network, run)
    folders = [str(run.folder) for network, run in first.items() if network not in measured]
    if folders:
        threads = slot.environment["OMP_NUM_THREADS"]
        words = [sys.executable, str(tool), *folders, "--threads", threads]
        subprocess.run(words, env={**os.environ, **slot.environment}, check=True)


def _tell_failures(failures: Sequence[Failure]) -> int:
    """Lists the reasons with their runs and a log; returns 1 if there are any, else 0."""
    for reason in dict.fromkeys(failure.reason for failure in failures):
        alike = [failure for failure in failures if failure.reason == reason]
        names = ", ".join(failure.run.name for failure in alike)
        print(f"FAILED {names}: {reason}\n  log: {alike[0].log}", file=sys.stderr)
    if failures:
        number = counted(len(failures), "run")
        print(f"{number} failed; once the reason is mended, the same call goes on", file=sys.stderr)
    return 1 if failures else 0
