"""The progress line of a training run."""

import datetime
import logging

import wrimnet.compat  # noqa: F401

import torch
from fastreid.utils.events import EventWriter, get_event_storage


class ProgressPrinter(EventWriter):
    """Logs epoch, iteration, losses, learning rate, images/s, data wait, ETA and memory.

    Args:
        max_iter: iterations of the run.
        iters_per_epoch: iterations of an epoch.
    """

    def __init__(self, max_iter: int, iters_per_epoch: int) -> None:
        self._logger = logging.getLogger("fastreid.wrimnet.progress")
        self._max_iter = max_iter
        self._iters_per_epoch = iters_per_epoch

    def write(self) -> None:
        """Logs the newest values of the event storage."""
        storage = get_event_storage()
        latest = {name: value for name, (value, _) in storage.latest().items()}
        done = storage.iter + 1
        losses = [f"{n} {v:.4g}" for n, v in latest.items() if "loss" in n and "/" not in n]
        left = int(latest["time"] * (self._max_iter - done))
        self._logger.info(
            "epoch %d/%d  iter %d/%d  %s  lr %.2e  %.1f img/s  data wait %.1f%%  eta %s%s",
            storage.iter // self._iters_per_epoch,
            self._max_iter // self._iters_per_epoch,
            done,
            self._max_iter,
            "  ".join(losses),
            latest["lr"],
            latest["images_per_second"],
            100 * latest["data_time"] / latest["time"],
            datetime.timedelta(seconds=left),
            _memory(),
        )


def _memory() -> str:
    if not torch.cuda.is_available():
        return ""
    return f"  memory {torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
