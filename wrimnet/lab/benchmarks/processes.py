"""A training step shared by several processes: throughput, efficiency, what communication costs."""

import time
import uuid
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from fastreid.utils import comm
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from wrimnet.engine.data_parallel import gather_whole_batch
from wrimnet.engine.distributed import setup_process_group
from wrimnet.lab.benchmarks.variants import OURS, build_batch, build_variant

_WARM_UP = 2


def build_process_rows(
    cfg: CfgNode, counts: Sequence[int], *, repeats: int, steps: int
) -> list[dict[str, Any]]:
    """Measures the step of the configuration's batch by so many processes, on the wall's clock.

    Args:
        cfg: of model, batch and input.
        counts: numbers of processes, beginning with 1.
        repeats: measurements of each; the median counts.
        steps: training steps in a measurement.

    Returns:
        Per number "processes", "images_per_second", "speedup" and "efficiency" against one, and
        "communication", the share of the step that goes when each process trains on its images
        alone; or "processes" and "skipped", the reason.
    """
    rows: list[dict[str, Any]] = []
    for count in counts:
        reason = build_reason(cfg, count)
        if reason:
            rows.append({"processes": count, "skipped": reason})
            continue
        together, apart = _launch(count, cfg, repeats, steps)
        speed = cfg.SOLVER.IMS_PER_BATCH / together
        first = rows[0]["images_per_second"] if rows else speed
        rows.append(
            {
                "processes": count,
                "images_per_second": speed,
                "speedup": speed / first,
                "efficiency": speed / first / count,
                "communication": max(0.0, 1 - apart / together) if count > 1 else 0.0,
            }
        )
    return rows


def build_reason(cfg: CfgNode, count: int) -> str:
    """Says why so many processes cannot be measured here; "" if they can."""
    num_pids = cfg.SOLVER.IMS_PER_BATCH // (2 * cfg.DATALOADER.NUM_INSTANCE)
    if num_pids % count or num_pids < 2 * count:
        return f"not measured: the {num_pids} identities of the batch make no {count} shares of 2"
    if cfg.MODEL.DEVICE != "cpu" and torch.cuda.device_count() < count:
        return f"not measured: {torch.cuda.device_count()} GPUs"
    return ""


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
        run_together, run_apart = build_steps(cfg_of_process)
        return _seconds(run_together, repeats, steps), _seconds(run_apart, repeats, steps)


def build_steps(cfg: CfgNode) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Builds the step on this process's share of the batch, with and without the others."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SOLVER.IMS_PER_BATCH //= comm.get_world_size()
    batch, together = build_batch(cfg, OURS), build_variant(cfg, OURS)
    cfg.SOLVER.SYNC_BN = False
    apart = build_variant(cfg, OURS)
    apart.network = apart.model
    if apart.model.gather is gather_whole_batch:
        apart.model.gather = lambda rows, num_visible: rows
    return lambda: together(batch), lambda: apart(batch)


def _seconds(run: Callable[[], Any], repeats: int, steps: int) -> float:
    for _ in range(_WARM_UP):
        run()
    return median(_seconds_once(run, steps) for _ in range(repeats))


def _seconds_once(run: Callable[[], Any], steps: int) -> float:
    _wait()
    started = time.perf_counter()
    for _ in range(steps):
        run()
    _wait()
    return (time.perf_counter() - started) / steps


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    comm.synchronize()


def process_table(rows: Sequence[dict[str, Any]]) -> str:
    """Renders the rows as Markdown."""
    lines = [
        "| processes | img/s | speed-up | efficiency | communication |",
        "|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        if "skipped" in row:
            lines.append(f"| {row['processes']} | {row['skipped']} | | | |")
            continue
        lines.append(
            f"| {row['processes']} | {row['images_per_second']:.1f} | {row['speedup']:.2f} | "
            f"{row['efficiency']:.0%} | {row['communication']:.0%} |"
        )
    return "\n".join(lines)
