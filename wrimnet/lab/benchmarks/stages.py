"""Where the time of a training step goes, from waiting for data to the optimizer."""

import time
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import nn

from wrimnet.data.build import build_dataset, build_train_loader
from wrimnet.lab.benchmarks.batches import build_step
from wrimnet.lab.benchmarks.timing import StageClock
from wrimnet.modeling.wrim_net import WRIMNet
from wrimnet.tables import markdown_rows

WAIT, STEP = "waiting for data (wall time)", "whole step"
_WARM_UP = 3


def measure_stages(cfg: CfgNode, *, steps: int) -> dict[str, float]:
    """Trains on the configuration's dataset; returns mean seconds of each stage in a step.

    Stages are timed by the device's clock (CPU time of the training's thread on a CPU), the wait
    for the next batch by wall time.
    """
    loader, step = build_train_loader(cfg, build_dataset(cfg)), build_step(cfg)
    batches = loader.iterate()
    for _ in range(_WARM_UP):
        step(next(batches))
    clock = StageClock(torch.device(cfg.MODEL.DEVICE))
    watch_step(step, clock)
    run, waited = clock.timed(STEP, step), 0.0
    for _ in range(steps):
        started = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - started
        run(batch)
    loader.close()
    return {WAIT: waited / steps, **{name: s / steps for name, s in clock.seconds().items()}}


def watch_step(step: Any, clock: StageClock) -> None:
    """Times augmentation, the parts of the network, losses, backward and update."""
    model = step.model
    for name, module in parts_of(model).items():
        clock.watch(name, module)
    if isinstance(model, WRIMNet):
        model.heads.register_forward_hook(lambda *_: clock.start("losses"))
        model.register_forward_hook(lambda *_: clock.stop("losses"))
    model.register_forward_hook(lambda *_: clock.start("backward"))
    accumulate = step.accumulate

    def accumulate_and_stop(part: dict[str, Any]) -> dict[str, Any]:
        losses = accumulate(part)
        clock.stop("backward")
        return losses

    step.accumulate = accumulate_and_stop
    step.augment = clock.timed("augmentation", step.augment)
    step.update = clock.timed("optimizer, gradient norm", step.update)


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """Returns children of the backbone, MIIMs and head; of another network than WRIMNet its own."""
    if not isinstance(model, WRIMNet):
        return dict(model.named_children())
    children = dict(model.backbone.named_children())
    miims = children.pop("miims", nn.ModuleDict()).named_children()
    return children | {f"MIIM {number}": miim for number, miim in miims} | {"head": model.heads}


def stage_table(stages: dict[str, float]) -> str:
    """Writes a row per stage: milliseconds and share of the step."""
    rows = [
        (name, f"{1e3 * value:.2f}", "" if name == WAIT else f"{value / stages[STEP]:.1%}")
        for name, value in stages.items()
    ]
    return markdown_rows(("stage", "ms/step, mean", "share"), rows)
