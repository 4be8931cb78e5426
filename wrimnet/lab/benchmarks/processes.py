"""A training step shared by several processes: throughput, and what communication costs."""

import uuid
from collections.abc import Callable
from statistics import median
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from fastreid.utils import comm
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.utils.benchmark import timer

from wrimnet.config import check_batch
from wrimnet.config.tree import changed_cfg
from wrimnet.engine.data_parallel import gather_whole_batch
from wrimnet.engine.distributed import setup_device_of_process, setup_process_group
from wrimnet.engine.step import setup_pytorch
from wrimnet.lab.benchmarks.batches import build_step, random_batch
from wrimnet.lab.benchmarks.benchmark_setup import Section, describe_settings
from wrimnet.lab.benchmarks.timing import seconds_of
from wrimnet.tables import markdown_rows


def measure_processes(cfg: CfgNode, count: int, *, repeats: int, steps: int) -> Section:
    """Measures the step of the configuration's batch by one and by ``count`` processes.

    Raises:
        ValueError: the batch cannot be shared by so many, or there are not so many GPUs.
    """
    check_batch(cfg, count)
    setup_device_of_process(cfg, count - 1)
    rows = []
    for number in (1, count):
        together, apart = _launch(number, cfg, repeats, steps)
        rows.append(process_row(number, cfg.SOLVER.IMS_PER_BATCH, together, apart))
    header = ("processes", "img/s", "speed-up", "communication")
    cells = [
        (
            str(row["processes"]),
            f"{row['images_per_second']:.1f}",
            f"{row['images_per_second'] / rows[0]['images_per_second']:.2f}",
            f"{row['communication']:.0%}",
        )
        for row in rows
    ]
    text = f"{describe_settings(cfg)} Wall time.\n\n{markdown_rows(header, cells)}"
    return Section("Training step by several processes", text, rows)


def process_row(count: int, images: int, together: float, apart: float) -> dict[str, Any]:
    """Returns speed, and the share of a step that goes when processes train by themselves."""
    communication = max(0.0, 1 - apart / together) if count > 1 else 0.0
    return {
        "processes": count,
        "images_per_second": images / together,
        "communication": communication,
    }


def _launch(count: int, cfg: CfgNode, repeats: int, steps: int) -> tuple[float, float]:
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=uuid.uuid4().hex,
        start_method="spawn",
    )
    return elastic_launch(launch, _measure)(cfg, repeats, steps)[0]


def _measure(cfg: CfgNode, repeats: int, steps: int) -> tuple[float, float]:
    """Runs in each process; returns seconds per step, together and each by itself."""
    torch.set_num_threads(1)
    with setup_process_group(cfg) as cfg_of_process:
        setup_pytorch(cfg_of_process)
        together, apart = build_steps(cfg_of_process)
        return _seconds(together, repeats, steps), _seconds(apart, repeats, steps)


def build_steps(cfg: CfgNode) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Builds the step on this process's share of the batch, with and without the others."""
    share = cfg.SOLVER.IMS_PER_BATCH // comm.get_world_size()
    cfg = changed_cfg(cfg, {"SOLVER.IMS_PER_BATCH": share})
    batch, together = random_batch(cfg), build_step(cfg)
    apart = build_step(changed_cfg(cfg, {"SOLVER.SYNC_BN": False}))
    apart.network = apart.model
    if apart.model.gather is gather_whole_batch:
        apart.model.gather = lambda rows, num_visible: rows
    return lambda: together(batch), lambda: apart(batch)


def _seconds(run: Callable[[], Any], repeats: int, steps: int) -> float:
    comm.synchronize()
    return median(seconds_of(run, timer, repeats=repeats, steps=steps))
