"""What happens around the iterations: requests to stop, evaluation, log, checkpoint."""

import datetime
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

import wrimnet.compat  # noqa: F401

import torch
from fastreid.engine.train_loop import HookBase, TrainerBase
from fastreid.utils import comm
from fastreid.utils.events import EventWriter, TensorboardXWriter, get_event_storage
from tqdm import tqdm

from wrimnet.engine.distributed import Agreement
from wrimnet.metrics.names import is_compared
from wrimnet.run_folder import kind_of

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: failed for now, try again
TOGETHER_SECONDS = 1.0  # signals that come within are one request
SIGNALS = (signal.SIGTERM, signal.SIGINT)

_logger = logging.getLogger("fastreid.wrimnet.signals")
_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console
_progress_logger = logging.getLogger("fastreid.wrimnet.progress")


class StopRequest:
    """Turns the first SIGTERM or SIGINT into a request, inside its ``with`` block.

    Outside :meth:`deferred` there is nothing to save, and the first signal ends the program with
    exit code 75. Inside, it is noted in ``requested`` and the program goes on until it asks. In
    both cases that signal gets its default action back, so that the second one ends the process at
    once, whatever it is doing; so does the other signal a second later, while one that comes with
    the first, from whoever sends SIGINT and SIGTERM, is the same request. Among several processes,
    where whoever started them may send each signal twice, the second one is ignored; torchrun ends
    by force what has not ended 30 s later.

    Args:
        num_processes: that stop together.

    Attributes:
        requested: name of the signal that came, or "".
    """

    def __init__(self, num_processes: int = 1) -> None:
        self.requested = ""
        self._second = signal.SIG_DFL if num_processes == 1 else signal.SIG_IGN
        self._deferred, self._came = False, 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, action in self._before.items():
            signal.signal(number, action)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Lets a signal wait until :meth:`stop` is called."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def stop(self, advice: str) -> None:
        """Ends the program with exit code 75."""
        by = self.requested or "a signal to another process"
        _logger.warning("stopped by %s: %s; exit code %d", by, advice, EXIT_CODE)
        raise SystemExit(EXIT_CODE)

    def _receive(self, number: int, _: FrameType | None) -> None:
        signal.signal(number, self._second)
        if self.requested:
            if time.monotonic() - self._came > TOGETHER_SECONDS:
                os.kill(os.getpid(), number)
            return
        self._came = time.monotonic()
        self.requested = signal.Signals(number).name
        if not self._deferred:
            self.stop("nothing was trained yet, nothing had to be saved")
        _logger.warning(
            "%s: saving at the end of this iteration; a second signal %s",
            self.requested,
            "ends the run at once" if self._second is signal.SIG_DFL else "changes nothing",
        )


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
        self._bar.update(storage.iter + 1 - self._bar.n)

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()

    def _line(self, iteration: int, latest: Mapping[str, float]) -> str:
        terms = [
            f"{name.removeprefix('loss_')} {value:5.3f}"
            for name, value in latest.items()
            if name.startswith("loss_")
        ]
        epoch = iteration // self._iters_per_epoch + 1
        epochs = self._max_iter // self._iters_per_epoch
        left = int(latest["time"] * (self._max_iter - iteration - 1))
        return (
            f"epoch {epoch:{len(str(epochs))}}/{epochs}  "
            f"iter {iteration + 1:{len(str(self._max_iter))}}/{self._max_iter}  "
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
    """Brings each line to the file at once, its tags grouped: loss/, speed/, test/.

    The stock writer keeps up to two minutes in memory; a killed run that goes on from a checkpoint
    of those minutes would show a gap. With the first evaluation the HPARAMS page gets ``values``
    and the metrics that it compares runs by.
    """

    def __init__(self, folder: str, purge_step: int, values: Mapping[str, Any]) -> None:
        super().__init__(folder, purge_step=purge_step)
        self._values = {name: _hparam(value) for name, value in values.items()}
        self._has_hparams = False

    def write(self) -> None:
        """Writes the newest values of the event storage."""
        latest = get_event_storage().latest_with_smoothing_hint(self._window_size)
        new = {name: found for name, found in latest.items() if found[1] > self._last_write}
        for name, (value, iteration) in new.items():
            self._writer.add_scalar(f"{kind_of(name)}/{name}", value, iteration)
        self._last_write = max([self._last_write, *(found[1] for found in new.values())])
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


class EvaluationHook(HookBase):
    """Evaluates every ``period`` epochs and after the last; 0 means only after the last.

    Comes first and saves before: images, a key or memory may fail in the evaluation.
    """

    def __init__(self, period: int) -> None:
        self._period = period

    def after_step(self) -> None:
        """Evaluates if the iteration ends an epoch for which it is due."""
        epochs = ended_epochs(self.trainer)
        if epochs is None:
            return
        last = epochs == self.trainer.max_epoch
        if last or (self._period and epochs % self._period == 0):
            self.trainer.save_checkpoint(evaluated=False)
            self.trainer.evaluate(final=last)


class LogHook(HookBase):
    """Writes means every ``period`` iterations and at the end of each epoch.

    Runs after the evaluation, whose metrics belong to the same line.
    """

    def __init__(self, build_writers: Callable[[], list[EventWriter]], period: int) -> None:
        self._build_writers = build_writers
        self._writers: list[EventWriter] = []
        self._period = period

    def before_train(self) -> None:
        """Opens the writers; not earlier, so that a resumed run may trim their files first."""
        self._writers = self._build_writers()

    def after_step(self) -> None:
        """Writes if a line is due."""
        if (self.trainer.iter + 1) % self._period == 0 or ended_epochs(self.trainer) is not None:
            self.trainer.record_progress()
            for writer in self._writers:
                self._write(writer)

    def _write(self, writer: EventWriter) -> None:
        try:
            writer.write()
        except OSError as error:
            raise OSError(
                f"cannot write the log in {self.trainer.output_dir}: {error}; make room, then go "
                "on with --resume"
            ) from error

    def after_train(self) -> None:
        """Closes the writers; what ended the training is not hidden by a disk that is full."""
        for writer in self._writers:
            try:
                writer.close()
            except OSError as error:
                _logger.error(
                    "the end of the log in %s is lost: %s", self.trainer.output_dir, error
                )


class CheckpointHook(HookBase):
    """Saves every so many epochs, iterations or minutes (0: never), at the end, and when asked to.

    The processes agree on two questions: whether to stop, and whether the minutes are over.
    """

    def __init__(
        self,
        *,
        epochs: int,
        iterations: int,
        minutes: float,
        request: StopRequest,
        agreement: Agreement,
    ) -> None:
        self._epochs = epochs
        self._iterations = iterations
        self._seconds = 60 * minutes
        self._request = request
        self._agreement = agreement
        self._saved_at = time.monotonic()

    def after_step(self) -> None:
        """Saves if it is due; stops the program if that was asked for."""
        done, epochs = self.trainer.iter + 1, ended_epochs(self.trainer)
        by_epoch = epochs is not None and self._epochs and epochs % self._epochs == 0
        by_count = self._iterations and done % self._iterations == 0
        over = bool(self._seconds) and time.monotonic() - self._saved_at >= self._seconds
        asked, by_time = self._agreement(bool(self._request.requested), over)
        last = done == self.trainer.max_iter
        if by_epoch or by_count or by_time or asked or last:
            self.trainer.save_checkpoint()
            self._saved_at = time.monotonic()
        if last:
            self._agreement.finish()
        elif asked:
            self._agreement.finish()
            comm.synchronize()  # torchrun ends all as soon as one has ended; the file must be whole
            self._request.stop(f"saved after iteration {done}, go on with --resume")


def ended_epochs(trainer: TrainerBase) -> int | None:
    """Returns how many epochs are done if the current iteration ends one, else None."""
    epochs, rest = divmod(trainer.iter + 1, trainer.iters_per_epoch)
    return None if rest else epochs
