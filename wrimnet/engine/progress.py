"""What happened since the last log line: losses, gradients, time, waiting, repeats, batches."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from wrimnet.engine.gradients import GradientWatch
from wrimnet.engine.loss_window import LossWindow, first_non_finite, mean_of
from wrimnet.engine.non_finite import NonFiniteError, TrainedBatch


class Progress:
    """Collects the iterations of a log period without waiting for the device.

    Args:
        images_per_step: batch size over all processes.
        share: makes the mean over the processes of each process's tensor; all of them must call
            each method that reads losses.
        world_size: number of processes.
    """

    def __init__(
        self, images_per_step: int, share: Callable[[Tensor], Tensor], world_size: int
    ) -> None:
        self._images_per_step = images_per_step
        self._share, self._world_size = share, world_size
        self._losses = LossWindow(share)
        self._batches: list[TrainedBatch] = []
        self._gradients = GradientWatch()
        self._repeats = 0
        self._seconds, self._data_seconds = 0.0, 0.0
        self._started = time.perf_counter()

    def start_clock(self) -> None:
        """Starts timing, at the beginning and after a pause."""
        self._started = time.perf_counter()

    def stop_clock(self) -> None:
        """Stops timing, before an evaluation."""
        self._seconds += time.perf_counter() - self._started

    def add(
        self,
        batch: dict[str, Any],
        losses: dict[str, Tensor],
        *,
        learning_rate: float,
        data_seconds: float,
    ) -> None:
        """Adds one iteration.

        Args:
            batch: as the loader made it.
            losses: scalars on the device, "grad_norm" among them.
            learning_rate: that the iteration used.
            data_seconds: for which the batch was waited for.
        """
        self._losses.add(losses)
        self._batches.append(TrainedBatch(batch["iteration"], learning_rate, batch["img_paths"]))
        self._repeats += batch["repeats"]
        self._data_seconds += data_seconds

    def summarise(self) -> dict[str, float]:
        """Returns the means over the period and starts a new one; waits for the device once.

        Raises:
            NonFiniteError: a value is NaN or infinite; names term, iteration and images.
        """
        rows = self._losses.rows()
        self.stop_clock()
        self._check(rows)
        norms = [row["grad_norm"] for row in rows]
        self._gradients.look([batch.iteration for batch in self._batches], norms)
        count = len(rows)
        summary = {
            **mean_of(rows),
            "grad_norm_max": max(norms),
            "lr": self._batches[-1].learning_rate,
            "time": self._seconds / count,
            "data_time": self._data_seconds / count,
            "images_per_second": self._images_per_step * count / self._seconds,
            "repeated_images": self._repeats_of_all() / count,
        }
        self._start_period()
        return summary

    def _repeats_of_all(self) -> float:
        mean = self._share(torch.tensor(float(self._repeats), device=self._losses.device))
        return self._world_size * float(mean)

    def _start_period(self) -> None:
        self._losses.clear()
        self._batches, self._repeats = [], 0
        self._seconds, self._data_seconds = 0.0, 0.0
        self.start_clock()

    def check_finite(self) -> None:
        """Raises NonFiniteError if a value since the last log line is NaN or infinite."""
        self._check(self._losses.rows())

    def _check(self, rows: list[dict[str, float]]) -> None:
        found = first_non_finite(rows)
        if found is not None:
            index, term = found
            raise NonFiniteError(term, rows[index][term], self._batches[index])

    def state_dict(self) -> dict[str, Any]:
        """Returns what the next summary needs."""
        return {
            "losses": self._losses.state_dict(),
            "batches": [list(batch) for batch in self._batches],
            "gradients": self._gradients.state_dict(),
            "repeats": self._repeats,
            "seconds": self._seconds + time.perf_counter() - self._started,
            "data_seconds": self._data_seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` returned."""
        self._losses.load_state_dict(state["losses"])
        self._batches = [TrainedBatch(*batch) for batch in state["batches"]]
        self._gradients.load_state_dict(state["gradients"])
        self._repeats = state["repeats"]
        self._seconds, self._data_seconds = state["seconds"], state["data_seconds"]
