"""What happened since the last log line: losses, gradients, time, repeats; and what exploded."""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

import torch
from fastreid.utils import comm
from torch import Tensor, nn

from wrimnet.data.batch_rows import map_tensors
from wrimnet.engine.checkpointing import write_atomically
from wrimnet.engine.collapse import CollapseWatch

_logger = logging.getLogger("fastreid.wrimnet.gradients")


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Returns the Euclidean norm of all gradients together, () on their device.

    Nothing waits for the device.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))


class GradientWatch:
    """Warns of a norm above ``factor`` times the median of the ``window`` norms before it.

    The first ``least`` iterations warn of nothing.
    """

    def __init__(self, factor: float = 10.0, window: int = 100, least: int = 20) -> None:
        self._factor, self._least = factor, least
        self._norms: deque[float] = deque(maxlen=window)

    def look(self, iterations: Sequence[int], norms: Sequence[float]) -> None:
        """Takes the norms of these iterations, in order, and logs each explosion."""
        for iteration, norm in zip(iterations, norms, strict=True):
            self._compare(iteration, norm)
            self._norms.append(norm)

    def _compare(self, iteration: int, norm: float) -> None:
        if len(self._norms) < self._least:
            return
        usual = median(self._norms)
        if norm > self._factor * usual:
            _logger.warning(
                "exploding gradient: norm %.4g at iteration %d, %.1f times the median %.4g of the "
                "%d iterations before; lower SOLVER.BASE_LR or set SOLVER.CLIP_GRADIENTS.ENABLED",
                norm,
                iteration,
                norm / usual if usual else float("inf"),
                usual,
                len(self._norms),
            )

    def state_dict(self) -> list[float]:
        """Returns the norms seen last."""
        return list(self._norms)

    def load_state_dict(self, norms: Sequence[float]) -> None:
        """Takes over what :meth:`state_dict` returned."""
        self._norms.clear()
        self._norms.extend(norms)


class LossWindow:
    """Collects scalars and brings them to the host, shared by all processes, once per log line."""

    def __init__(self, share: Callable[[Tensor], Tensor]) -> None:
        self._share = share
        self._names: list[str] = []
        self._rows: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def device(self) -> torch.device:
        """Where the values are."""
        return self._rows[-1].device

    def add(self, values: dict[str, Tensor]) -> None:
        """Keeps the values of one iteration; the names are those of the first one."""
        self._names = self._names or list(values)
        self._rows.append(torch.stack([values[name].detach().float() for name in self._names]))

    def rows(self) -> list[dict[str, float]]:
        """Returns the values of each iteration, oldest first; waits for the device."""
        if not self._rows:
            return []
        return [dict(zip(self._names, row, strict=True)) for row in self._table().tolist()]

    def _table(self) -> Tensor:
        """(iterations, names) of the whole batch, on the host."""
        return self._share(torch.stack(self._rows)).cpu()

    def clear(self) -> None:
        """Empties the window."""
        self._rows = []

    def state_dict(self) -> dict[str, Any]:
        """Returns names and values (iterations, names), to go on within a log period."""
        if not self._rows:
            return {"names": self._names, "rows": torch.empty(0, len(self._names))}
        return {"names": self._names, "rows": self._table()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` returned."""
        self._names = list(state["names"])
        self._rows = list(state["rows"])


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """Returns the mean of each value over the iterations."""
    return {name: math.fsum(row[name] for row in rows) / len(rows) for name in rows[0]}


def first_non_finite(rows: list[dict[str, float]]) -> tuple[int, str] | None:
    """Returns index of the iteration and name of the first value that is NaN or infinite."""
    for index, row in enumerate(rows):
        for name, value in row.items():
            if not math.isfinite(value):
                return index, name
    return None


class TrainedBatch(NamedTuple):
    """What is remembered of a batch until its losses are known on the host."""

    iteration: int  # counted from 0, as batches are
    learning_rate: float
    img_paths: list[str]


class NonFiniteError(FloatingPointError):
    """A loss term or the gradient's norm, on a batch, is NaN or infinite."""

    def __init__(self, term: str, value: float, batch: TrainedBatch) -> None:
        super().__init__(
            f"{term} became {value} at iteration {batch.iteration + 1}, learning rate "
            f"{batch.learning_rate:g}, on the images {batch.img_paths}"
        )
        self.term, self.value, self.batch = term, value, batch


def with_replay(
    error: NonFiniteError, folder: Path, load: Callable[[int], dict[str, Any]]
) -> FloatingPointError:
    """Saves the batch that ``load`` makes of it; returns the error that also names the file.

    Only the main process saves.
    """
    try:
        batch = load(error.batch.iteration)
        if not comm.is_main_process():
            return error
        path = save_replay(folder, error, batch)
    except (OSError, ValueError) as problem:
        return FloatingPointError(f"{error}; the batch could not be saved: {problem}")
    return FloatingPointError(f"{error}; the batch is saved in {path}")


def save_replay(folder: Path, error: NonFiniteError, batch: dict[str, Any]) -> Path:
    """Saves a batch, before augmentation, with what went wrong on it, as ``replay_ITERATION.pth``.

    ``torch.load(weights_only=True)`` reads it. OSError if it cannot be written.
    """
    path = folder / f"replay_{error.batch.iteration + 1:08d}.pth"
    content = {
        **map_tensors(batch, Tensor.cpu),
        "term": error.term,
        "value": error.value,
        "learning_rate": error.batch.learning_rate,
    }
    write_atomically(path, lambda file: torch.save(content, file))
    return path


class Progress:
    """Collects the iterations of a log period without waiting for the device.

    ``share`` makes the mean over the processes of each one's tensor: all of them must call each
    method that reads losses.
    """

    def __init__(
        self,
        images_per_step: int,
        share: Callable[[Tensor], Tensor],
        world_size: int,
        collapse: CollapseWatch,
    ) -> None:
        self._images_per_step = images_per_step
        self._share, self._world_size = share, world_size
        self._losses = LossWindow(share)
        self._batches: list[TrainedBatch] = []
        self._gradients, self._collapse = GradientWatch(), collapse
        self._repeats = 0
        self._logged: dict[str, float] = {}
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
        """Adds an iteration: scalars on the device, "grad_norm" among them; seconds of waiting."""
        self._losses.add(losses)
        self._batches.append(TrainedBatch(batch["iteration"], learning_rate, batch["img_paths"]))
        self._repeats += batch["repeats"]
        self._data_seconds += data_seconds

    def log(self, name: str, value: float) -> None:
        """Sets a value of the log lines from the next one on, until it is set again.

        Raises ValueError: the name has a slash, by which readers know metrics of a test.
        """
        if "/" in name:
            raise ValueError(
                f"a hook logs {name!r}: expected a name without /, which only metrics of a test "
                f"(PROTOCOL/METRIC, shown in percent) have; use {name.replace('/', '_')!r}"
            )
        self._logged[name] = float(value)

    def summarize(self) -> dict[str, float]:
        """Returns the means over the period and starts a new one; waits for the device once.

        Raises NonFiniteError: a value is NaN or infinite; names term, iteration and images.
        """
        rows = self._losses.rows()
        self.stop_clock()
        self._check(rows)
        norms = [row["grad_norm"] for row in rows]
        iterations = [batch.iteration + 1 for batch in self._batches]
        self._gradients.look(iterations, norms)
        self._collapse.look(iterations, rows)
        count = len(rows)
        summary = {
            **mean_of(rows),
            "grad_norm_max": max(norms),
            "lr": self._batches[-1].learning_rate,
            "time": self._seconds / count,
            "data_time": self._data_seconds / count,
            "images_per_second": self._images_per_step * count / self._seconds,
            "repeated_images": self._repeats_of_all() / count,
            **self._logged,
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
        bad_row = first_non_finite(rows)
        if bad_row is not None:
            index, term = bad_row
            raise NonFiniteError(term, rows[index][term], self._batches[index])

    def state_dict(self) -> dict[str, Any]:
        """Returns what the next summary needs."""
        return {
            "losses": self._losses.state_dict(),
            "batches": [list(batch) for batch in self._batches],
            "gradients": self._gradients.state_dict(),
            "collapse": self._collapse.state_dict(),
            "repeats": self._repeats,
            "logged": self._logged,
            "seconds": self._seconds + time.perf_counter() - self._started,
            "data_seconds": self._data_seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` returned."""
        self._losses.load_state_dict(state["losses"])
        self._batches = [TrainedBatch(*batch) for batch in state["batches"]]
        self._gradients.load_state_dict(state["gradients"])
        self._collapse.load_state_dict(state["collapse"])
        self._repeats, self._logged = state["repeats"], dict(state["logged"])
        self._seconds, self._data_seconds = state["seconds"], state["data_seconds"]
