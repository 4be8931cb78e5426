"""Checkpoints that are whole or absent, and the random generators in them."""

import logging
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from wrimnet import atomic_files
from wrimnet.modeling.weights import read_checkpoint
from wrimnet.run_folder import LAST, LOST, checkpoint_path, checkpoints


def random_state() -> dict[str, Any]:
    """Returns all generator states, of CUDA that of this process's device, as plain values."""
    version, python_state, gauss = random.getstate()
    numpy_state: Any = np.random.get_state()
    name, keys, position, has_gauss, cached = numpy_state
    return {
        "python": [version, list(python_state), gauss],
        "numpy": [name, keys.tolist(), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Restores what :func:`random_state` returned; CUDA's on this process's device."""
    version, python_state, gauss = state["python"]
    random.setstate((version, tuple(python_state), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state(state["cuda"][0])


def on_device(state: Any, device: torch.device) -> Any:
    """Moves all tensors of a part of a checkpoint; NCCL shares those of its device only."""
    if isinstance(state, dict):
        return {name: on_device(value, device) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(on_device(value, device) for value in state)
    return state.to(device) if isinstance(state, torch.Tensor) else state


# what a checkpoint holds: everything that shapes the iterations to come, and what it was trained by
CONTENT = (
    "model",
    "iteration",
    "evaluated",
    "iters_per_epoch",
    "optimizer",
    "scheduler",
    "progress",
    "best",
    "random",
    "hooks",
    "config_hash",
    "settings",
    "changes",
    "trained_on",
    "network",
    "images",
    "plugins",
    "compiled",
)


class Checkpoint(NamedTuple):
    """A checkpoint that was read whole."""

    path: Path
    state: dict[str, Any]

    @property
    def start_iter(self) -> int:
        """Index of the iteration that a resumed run begins with.

        Without its evaluation the last iteration is gone through again, its step aside.
        """
        return self.state["iteration"] - (not self.state["evaluated"])


class CheckpointStore:
    """The checkpoints of one run in one folder, of which ``keep`` stay.

    ``last_checkpoint`` names the newest, as FastReID's does. Every file is checked against the
    CRC-32 of its records before it is read. Only one process of a job ``writes``.
    """

    def __init__(self, folder: str | Path, keep: int = 2, *, writes: bool = True) -> None:
        self.folder = Path(folder)
        self.keep = keep
        self.writes = writes

    def save(self, iteration: int, state: dict[str, Any]) -> Path:
        """Saves the state after ``iteration`` iterations and removes checkpoints beyond ``keep``.

        Raises OSError: the file cannot be written; earlier checkpoints are untouched.
        """
        path = checkpoint_path(self.folder, iteration)
        if not self.writes:
            return path
        write_atomically(path, lambda file: torch.save(state, file))
        self._name_last(path)
        for old in checkpoints(self.folder)[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def save_weights(self, name: str, state: dict[str, Any]) -> Path:
        """Saves weights for evaluation as ``name``, replacing an earlier file of that name."""
        path = self.folder / name
        if self.writes:
            write_atomically(path, lambda file: torch.save(state, file))
        return path

    def _missing(self) -> str:
        """Returns what ``last_checkpoint`` names if that is not there, else ""."""
        last = self.folder / LAST
        name = last.read_text(errors="replace").strip()[:80] if last.is_file() else ""
        return "" if name in {path.name for path in checkpoints(self.folder)} else name

    def find_newest(self) -> Checkpoint | None:
        """Reads the newest whole checkpoint, warns of damaged ones; None where there never was one.

        Raises ValueError: all are damaged, or lost: a new run would write over what is left.
        """
        candidates = checkpoints(self.folder)
        left = [name for name in LOST if (self.folder / name).exists()]
        if left and not candidates:
            raise ValueError(
                f"{self.folder} holds {', '.join(left)} of a run, but not its checkpoint "
                f"{self._missing() or 'checkpoint_*.pth'}; put it back, move the folder away, or "
                "choose another OUTPUT_DIR"
            )
        if not candidates:
            return None
        for path in candidates:
            try:
                return Checkpoint(path, _complete(read_checkpoint(path), path))
            except ValueError as error:
                _logger().warning("this checkpoint is not used: %s", error)
        raise ValueError(
            f"every checkpoint in {self.folder} is damaged: "
            f"{', '.join(path.name for path in candidates)}; start again in another OUTPUT_DIR"
        )

    def set_newest(self, path: Path) -> None:
        """Makes a checkpoint the newest of the folder.

        Files that are newer, which are damaged, get the ending ``.damaged``: they must neither be
        named by ``last_checkpoint`` nor count among those that are kept.
        """
        if missing := self._missing():
            _logger().warning("%s names %s, which is missing", LAST, missing)
        for newer in checkpoints(self.folder):
            if newer.name > path.name:
                newer.replace(newer.with_name(f"{newer.name}.damaged"))
        self._name_last(path)
        _logger().info("resuming from %s", path)

    def remove_unfinished(self) -> None:
        """Removes the temporary files of a run that was killed while it wrote them."""
        for temporary in self.folder.glob(".*.tmp"):
            _logger().info("removing %s, which was not written to its end", temporary)
            temporary.unlink(missing_ok=True)

    def _name_last(self, path: Path) -> None:
        write_atomically(self.folder / LAST, lambda file: file.write(path.name.encode()))


def _complete(state: dict[str, Any], path: Path) -> dict[str, Any]:
    missing = [name for name in CONTENT if name not in state]
    if missing:
        raise ValueError(f"{path} holds no {', '.join(missing)}; expected the checkpoint of a run")
    return state


def write_atomically(path: Path, write: Any) -> None:
    """Writes a file of a run: whole, or not at all (:func:`wrimnet.atomic_files.write_file`)."""
    advice = "free disk space or choose another OUTPUT_DIR, then use --resume: earlier checkpoints"
    atomic_files.write_file(path, write, f"{advice} are whole")


def _logger() -> logging.Logger:
    return logging.getLogger("fastreid.wrimnet.checkpoint")
