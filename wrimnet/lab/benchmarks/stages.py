"""Where the time of a training step goes, from waiting for data to the optimizer."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import nn

from wrimnet.data.build import build_train_sampler
from wrimnet.data.cache import open_cache
from wrimnet.data.cache_file import cache_key
from wrimnet.data.loader import TrainLoader
from wrimnet.data.reading import ReadingWatch
from wrimnet.data.sources import DiskSource
from wrimnet.engine.step import TrainingStep
from wrimnet.lab.benchmarks.data_paths import draw_train_set
from wrimnet.lab.benchmarks.timing import StageClock
from wrimnet.lab.benchmarks.variants import OURS, build_variant

WAIT = "data wait (wall)"
_WARM_UP = 3


def build_stage_profile(
    cfg: CfgNode, folder: Path, *, num_images: int, steps: int
) -> dict[str, list[float]]:
    """Trains on drawn JPEG files through the disk cache, and times each stage.

    The stages are timed by the device's clock (CPU time of the training's thread on a CPU), the
    wait for the next batch by the clock on the wall.

    Args:
        cfg: of the model, batch and input; MODEL.HEADS.NUM_CLASSES is set.
        folder: where files and cache are made.
        num_images: files drawn, a multiple of 32, enough for the identities of a batch.
        steps: training steps after the warm-up.

    Returns:
        Milliseconds per step of each stage, in the order of the step.
    """
    loader, step = build_drawn_loader(cfg, folder, num_images), build_variant(cfg, OURS)
    clock, waits = StageClock(torch.device(cfg.MODEL.DEVICE)), []
    watch_modules(step.model, clock)
    batches = loader.iterate()
    for number in range(_WARM_UP + steps):
        if number == _WARM_UP:
            clock.clear()
            waits.clear()
        started = time.perf_counter()
        batch = next(batches)
        waits.append(1e3 * (time.perf_counter() - started))
        train_in_stages(step, batch, clock)
    loader.close()
    return {WAIT: waits, **clock.milliseconds()}


def build_drawn_loader(cfg: CfgNode, folder: Path, num_images: int) -> TrainLoader:
    """Builds the batches of ``num_images`` drawn JPEG files, cached at INPUT.SIZE_TRAIN."""
    train_set, device = draw_train_set(folder / "images", num_images), cfg.MODEL.DEVICE
    height, width = cfg.INPUT.SIZE_TRAIN
    key = cache_key(
        train_set.items,
        dataset="Drawn",
        height=height,
        width=width,
        interpolation=cfg.INPUT.INTERPOLATION,
        on_bad_image="error",
    )
    cache = open_cache(key, train_set.items, folder / "cache", num_processes=1, timeout=60.0)
    watch = ReadingWatch()
    return TrainLoader(
        dataset=train_set,
        sampler=build_train_sampler(cfg, train_set),
        source=DiskSource(cache, watch=watch, pin=device.startswith("cuda")),
        watch=watch,
        device=torch.device(device),
        prefetch=cfg.DATALOADER.PREFETCH,
        timeout=60.0,
    )


def train_in_stages(step: TrainingStep, batch: dict[str, Any], clock: StageClock) -> None:
    """Does what ``step(batch)`` does, stage by stage."""
    with clock.stage("augmentation"):
        augmented = step.augment(batch)
    step.optimizer.zero_grad(set_to_none=True)
    losses = step.forward(augmented)
    with clock.stage("backward"):
        torch.stack(list(losses.values())).sum().backward()
    with clock.stage("optimizer, gradient norm"):
        step.update()


def watch_modules(model: nn.Module, clock: StageClock) -> None:
    """Times the forward pass of stem, Blocks, MIIMs and head, and the losses behind the head."""
    backbone = model.backbone
    _span(clock, "stem", backbone.conv1, backbone.maxpool)
    for number in (1, 2, 3, 4):
        block = getattr(backbone, f"layer{number}")
        _span(clock, f"Block {number}", block, block)
        if str(number) in backbone.miims:
            miim = backbone.miims[str(number)]
            _span(clock, f"MIIM {number}", miim, miim)
    _span(clock, "head", model.heads, model.heads)
    model.heads.register_forward_hook(_ignoring(lambda: clock.start("losses")))
    model.register_forward_hook(_ignoring(lambda: clock.stop("losses")))


def _span(clock: StageClock, name: str, first: nn.Module, last: nn.Module) -> None:
    first.register_forward_pre_hook(_ignoring(lambda: clock.start(name)))
    last.register_forward_hook(_ignoring(lambda: clock.stop(name)))


def _ignoring(action: Callable[[], None]) -> Callable[..., None]:
    """A hook that needs none of what it is told."""

    def hook(*_told: object) -> None:
        action()

    return hook
