"""What comes before and after the runs of a table: the data, the image cache, the costs."""

import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wrimnet.data.build import build_dataset, build_dataset_folder, build_train_cache
from wrimnet.data.images import fingerprint
from wrimnet.lab.experiments.plans import Setting, TablePlan, first_cfg, setup_planned_cfg
from wrimnet.lab.experiments.runs import ExperimentRun, is_done
from wrimnet.lab.experiments.table_file import TableFile
from wrimnet.run_folder import COST, find_results, read_json, read_results

_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console

GENERATED = "Synthetic"  # the dataset that is made where it is missing


def make_synthetic_if_missing(table: TableFile, setting: Setting, tool: Path) -> None:
    """Makes the synthetic dataset if a table is for it and it is not there.

    Raises:
        FileNotFoundError: DATASETS.ROOT names another folder, where nothing is made.
    """
    if setting.dataset != GENERATED:
        return
    folder = build_dataset_folder(first_cfg(table, setting))
    usual = build_dataset_folder(first_cfg(table, Setting(setting.folder)))
    if folder.exists():
        return
    if folder != usual:
        raise FileNotFoundError(
            f"{folder} does not exist; leave DATASETS.ROOT out to generate the data in {usual}"
        )
    words = ["--layout", "llcm", "--out", folder.parent, "--workers", os.cpu_count() or 1]
    subprocess.run([sys.executable, str(tool), *map(str, words)], check=True)


def prepare_data(runs: Sequence[ExperimentRun]) -> None:
    """Reads the dataset once per split and builds the image caches, before anything starts.

    Raises:
        FileNotFoundError, ValueError: of the dataset, or a run is done that had other images.
    """
    datasets: dict[Any, Any] = {}
    cached = set()
    for run in runs:
        known, done = None, is_done(run)
        if done and (known := read_results(run.folder)["description"].get("images")) is None:
            continue  # of before results said it
        cfg = setup_planned_cfg(run.about, "MODEL.DEVICE", "cpu")
        where = (str(build_dataset_folder(cfg)), cfg.DATASETS.SPLIT, run.about.get("split"))
        if where not in datasets:
            datasets[where] = build_dataset(cfg)
        dataset = datasets[where]
        if known not in (None, fingerprint(dataset.test)):
            raise ValueError(
                f"{run.folder} holds results on other images than the dataset has now; name the "
                "earlier DATASETS.ROOT, or choose another --out"
            )
        cache = (where, *cfg.INPUT.SIZE_TRAIN, cfg.INPUT.INTERPOLATION, cfg.DATALOADER.CACHE_DIR)
        if not done and cfg.DATALOADER.CACHE != "none" and cache not in cached:
            cached.add(cache)
            build_train_cache(cfg, dataset).close()


def cost_command(plan: TablePlan, tool: Path, threads: int) -> list[str]:
    """Returns the command that measures what a table's networks cost; run folders follow it."""
    words = ["--activations"] if "activation_mb" in plan.table.costs else []
    return [sys.executable, str(tool), "--threads", str(threads), *words]


def measure_costs(plans: Sequence[TablePlan], tool: Path, environment: Mapping[str, str]) -> None:
    """Measures each network once, alone on the machine, on the first finished run that has it.

    A network that cannot be measured is reported; the others and the table stay as they are.
    """
    for plan in plans:
        columns, folders = set(plan.table.costs) - {"images_per_second"}, []
        for row in plan.rows:
            finished = [str(run.folder) for run in row.runs.values() if find_results(run.folder)]
            costs = [read_json(run.folder / COST) or {} for run in row.runs.values()]
            if not any(columns <= cost.keys() for cost in costs):
                folders += finished[:1]
        words = cost_command(plan, tool, int(environment["OMP_NUM_THREADS"]))
        for folder in folders:
            ended = subprocess.run([*words, folder], env={**os.environ, **environment}, check=False)
            if ended.returncode:
                _console.info(
                    f"costs of {folder} could not be measured (exit code {ended.returncode}, the "
                    "reason is above) and are dashes in the table; the same command tries again"
                )
