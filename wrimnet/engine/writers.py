"""Where the values of a log line go: the console, TensorBoard."""

import datetime
import logging
import sys
from collections.abc import Mapping
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.utils.events import EventWriter, TensorboardXWriter, get_event_storage
from tqdm import tqdm

from wrimnet.metrics.names import is_compared
from wrimnet.run_folder import kind_of

_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console
_progress_logger = logging.getLogger("fastreid.wrimnet.progress")


class ProgressPrinter(EventWriter):
    """Tells one aligned line per log period; on a terminal a bar, and the line to the log alone."""

    def __init__(self, start_iter: int, max_iter: int, iters_per_epoch: int) -> None:
        self._max_iter = max_iter
        self._iters_per_epoch = iters_per_epoch
        # without a terminal it is silent, and ``disable`` says so
        self._bar = tqdm(
            desc="training",
            total=max_iter,
            initial=start_iter,
            unit=" it",
            disable=None,
            file=sys.stdout,
            dynamic_ncols=True,
        )

    def write(self) -> None:
        """Shows the newest values of the event storage."""
        storage = get_event_storage()
        latest = {name: value for name, (value, _) in storage.latest().items()}
        line = self._line(storage.iter, latest)
        if self._bar.disable:
            _console.info(line)
            return
        _progress_logger.info(line)
        self._bar.set_postfix_str(f"loss {latest['total_loss']:.3f}", refresh=False)
        self._bar.update(storage.iter - self._bar.n)

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()

    def _line(self, iteration: int, latest: Mapping[str, float]) -> str:
        terms = [
            f"{name.removeprefix('loss_')} {value:5.3f}"
            for name, value in latest.items()
            if name.startswith("loss_")
        ]
        epoch = (iteration - 1) // self._iters_per_epoch + 1
        epochs = self._max_iter // self._iters_per_epoch
        left = int(latest["time"] * (self._max_iter - iteration))
        return (
            f"epoch {epoch:{len(str(epochs))}}/{epochs}  "
            f"iter {iteration:{len(str(self._max_iter))}}/{self._max_iter}  "
            f"loss {latest['total_loss']:6.3f}: {' '.join(terms)}  lr {latest['lr']:.1e}  "
            f"{latest['images_per_second']:4.0f} img/s  "
            f"wait {latest['data_time'] / latest['time']:3.0%}  "
            f"eta {datetime.timedelta(seconds=left)}{_memory()}"
        )


def _memory() -> str:
    if not torch.cuda.is_available():
        return ""
    return f"  {torch.cuda.max_memory_allocated() / 1e9:.1f} GB"


class FlushedTensorboardWriter(TensorboardXWriter):
    """Brings each line to the file at once, its tags grouped: loss/, speed/, test/ (percent).

    The stock writer keeps up to two minutes in memory; a killed run that goes on from a checkpoint
    of those minutes would show a gap. With the first evaluation the HPARAMS page gets ``values``
    and the metrics that it compares runs by.
    """

    _last_write: int

    def __init__(self, folder: str, purge_step: int, values: Mapping[str, Any]) -> None:
        super().__init__(folder, purge_step=purge_step)
        self._values = {name: _hparam(value) for name, value in values.items()}
        self._has_hparams = False

    def write(self) -> None:
        """Writes the newest values of the event storage."""
        latest = get_event_storage().latest_with_smoothing_hint(self._window_size)
        new = {name: entry for name, entry in latest.items() if entry[1] > self._last_write}
        for name, (value, iteration) in new.items():
            kind = kind_of(name)
            shown = 100 * value if kind == "test" else value
            self._writer.add_scalar(f"{kind}/{name}", shown, iteration)
        self._last_write = max([self._last_write, *(entry[1] for entry in new.values())])
        tested = [name for name in new if kind_of(name) == "test"]
        metrics = [f"test/{name}" for name in tested if is_compared(name.rpartition("/")[2])]
        if metrics and not self._has_hparams:
            self._write_hparams(metrics)
        self._writer.flush()

    def _write_hparams(self, metrics: list[str]) -> None:
        from torch.utils.tensorboard.summary import hparams

        for summary in hparams(self._values, dict.fromkeys(metrics, 0.0))[:2]:
            self._writer.file_writer.add_summary(summary)
        self._has_hparams = True


def _hparam(value: Any) -> Any:
    """TensorBoard shows numbers, words and switches; anything else as its text."""
    return value if isinstance(value, bool | int | float | str) else str(value)
