"""A training value that is NaN or infinite: where it happened, and the batch kept for replay."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

import torch
from fastreid.utils import comm

from wrimnet.engine.checkpointing import write_atomically


class TrainedBatch(NamedTuple):
    """What is remembered of a batch until its losses are known on the host."""

    iteration: int
    learning_rate: float
    img_paths: list[str]


class NonFiniteError(FloatingPointError):
    """A loss term or the gradient's norm is NaN or infinite.

    Args:
        term: its name.
        value: NaN or infinite.
        batch: the batch it happened on.
    """

    def __init__(self, term: str, value: float, batch: TrainedBatch) -> None:
        super().__init__(
            f"{term} became {value} at iteration {batch.iteration}, learning rate "
            f"{batch.learning_rate:g}, on the images {batch.img_paths}"
        )
        self.term, self.value, self.batch = term, value, batch


def with_replay(
    error: NonFiniteError, folder: Path, load: Callable[[int], dict[str, Any]]
) -> FloatingPointError:
    """Saves the batch it happened on and returns the error that also names the file.

    Args:
        error: what went wrong.
        folder: OUTPUT_DIR.
        load: makes the batch of an iteration, as it is before augmentation.

    Returns:
        An error for the caller to raise; only the main process saves.
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
    """Saves a batch with what went wrong on it; ``torch.load(weights_only=True)`` reads it.

    Args:
        folder: OUTPUT_DIR.
        error: what went wrong.
        batch: of the same iteration, as the loader makes it; before augmentation.

    Returns:
        ``replay_XXXXXXXX.pth`` with XXXXXXXX the iteration.

    Raises:
        OSError: the file cannot be written.
    """
    path = folder / f"replay_{error.batch.iteration:08d}.pth"
    content = {
        **{name: _on_host(value) for name, value in batch.items()},
        "term": error.term,
        "value": error.value,
        "learning_rate": error.batch.learning_rate,
    }
    write_atomically(path, lambda file: torch.save(content, file))
    return path


def _on_host(value: Any) -> Any:
    return value.cpu() if torch.is_tensor(value) else value
