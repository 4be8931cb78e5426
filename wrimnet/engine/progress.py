"""What happened since the last log line: losses, time, waiting, repeats, image paths."""

import time
from typing import Any

from torch import Tensor

from wrimnet.engine.loss_window import LossWindow, first_non_finite, mean_of


class Progress:
    """Collects the iterations of a log period without waiting for the device.

    Args:
        images_per_step: batch size over all processes.
    """

    def __init__(self, images_per_step: int) -> None:
        self._images_per_step = images_per_step
        self._losses = LossWindow()
        self._paths: list[list[str]] = []
        self._repeats = 0
        self._seconds, self._data_seconds = 0.0, 0.0
        self._started = time.perf_counter()

    def start_clock(self) -> None:
        """Starts timing, at the beginning and after a pause."""
        self._started = time.perf_counter()

    def stop_clock(self) -> None:
        """Stops timing, before an evaluation."""
        self._seconds += time.perf_counter() - self._started

    def add(self, batch: dict[str, Any], losses: dict[str, Tensor], data_seconds: float) -> None:
        """Adds one iteration: its batch, its loss values and how long the batch was waited for."""
        self._losses.add(losses)
        self._paths.append(batch["img_paths"])
        self._repeats += batch["repeats"]
        self._data_seconds += data_seconds

    def summarise(self, iteration: int, learning_rate: float) -> dict[str, float]:
        """Returns the means over the period and starts a new one; waits for the device once.

        Args:
            iteration: the last one, from 0.
            learning_rate: of the last one.

        Raises:
            FloatingPointError: a loss is NaN or infinite; names term, iteration and images.
        """
        rows = self._losses.drain()
        self.stop_clock()
        self._check_finite(rows, iteration - len(rows) + 1, learning_rate)
        count = len(rows)
        summary = {
            **mean_of(rows),
            "lr": learning_rate,
            "time": self._seconds / count,
            "data_time": self._data_seconds / count,
            "images_per_second": self._images_per_step * count / self._seconds,
            "repeated_images": self._repeats / count,
        }
        self._paths, self._repeats = [], 0
        self._seconds, self._data_seconds = 0.0, 0.0
        self.start_clock()
        return summary

    def _check_finite(self, rows: list[dict[str, float]], first: int, rate: float) -> None:
        found = first_non_finite(rows)
        if found is not None:
            index, term = found
            raise FloatingPointError(
                f"{term} became {rows[index][term]} at iteration {first + index}, learning rate "
                f"{rate:g}, on the images {self._paths[index]}"
            )

    def state_dict(self) -> dict[str, Any]:
        """Returns what the next summary needs, its times left out."""
        return {
            "losses": self._losses.state_dict(),
            "paths": self._paths,
            "repeats": self._repeats,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` returned."""
        self._losses.load_state_dict(state["losses"])
        self._paths, self._repeats = list(state["paths"]), state["repeats"]
