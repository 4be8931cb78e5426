"""What happens around the iterations: evaluation, log, checkpoints."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.engine.train_loop import HookBase, TrainerBase
from fastreid.utils import comm
from fastreid.utils.events import EventWriter
from torch import Tensor, nn

from wrimnet.engine.distributed import Agreement
from wrimnet.engine.signals import StopRequest
from wrimnet.evaluation.results import EvaluationReport

_logger = logging.getLogger("fastreid.wrimnet.hooks")


class Hook(HookBase):
    """A custom hook: FastReID's methods, what is saved with it, and weights of its own.

    HOOKS names it as it is registered in HOOK_REGISTRY, and it is built with (cfg). Its methods run
    before those of the trainer, once for each iteration, also in a run that is resumed.
    """

    @property
    def label(self) -> str:
        """Name in checkpoints, results and files."""
        return type(self).__name__.lower()

    def state_dict(self) -> dict[str, Any]:
        """Returns tensors and plain values that a resumed run needs."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what :meth:`state_dict` returned; tensors are on the model's device."""

    def evaluated_weights(self) -> Mapping[str, Tensor]:
        """Returns tensors of the model's state dict to evaluate beside its own, {} for none."""
        return {}

    def after_evaluation(self, report: EvaluationReport) -> None:
        """Called after each evaluation, by all processes."""


def state_of(hook: Hook) -> dict[str, Any]:
    """Returns what a checkpoint holds of a hook.

    Raises ValueError: a value that cannot be read back safely.
    """
    state = hook.state_dict()
    _check_plain(state, hook.label)
    return state


def _check_plain(value: Any, where: str) -> None:
    if type(value) in (dict, OrderedDict):
        for name, inner in value.items():
            _check_plain(inner, f"{where}[{name!r}]")
    elif type(value) in (list, tuple):
        for index, inner in enumerate(value):
            _check_plain(inner, f"{where}[{index}]")
    elif not isinstance(value, Tensor) and type(value) not in (int, float, str, bool, type(None)):
        raise ValueError(
            f"the state of the hook {where} is a {type(value).__name__}, which a checkpoint cannot "
            "hold; expected tensors, numbers, texts, lists and dicts of Python"
        )


class EvaluationCallback(Hook):
    """Calls a function of the epoch, counted from 1, and the metrics by protocol, as fractions."""

    def __init__(self, call: Callable[[int, Mapping[str, Mapping[str, float]]], Any]) -> None:
        self._call = call

    def after_evaluation(self, report: EvaluationReport) -> None:
        """Calls it; what it raises ends the training."""
        self._call(self.trainer.epoch + 1, report.metrics)


class SaveBeforeEvaluationHook(HookBase):
    """Saves where an evaluation follows: images, a key or memory may fail in it.

    Runs before the progress line, whose values a resumed run then still has.
    """

    def __init__(self, period: int) -> None:
        self._period = period

    def after_step(self) -> None:
        """Saves if an evaluation is due."""
        if evaluation_is_due(self.trainer, self._period):
            self.trainer.save_checkpoint(evaluated=False)


class EvaluationHook(HookBase):
    """Evaluates every ``period`` epochs and after the last; 0 means only after the last."""

    def __init__(self, period: int) -> None:
        self._period = period

    def after_step(self) -> None:
        """Evaluates if it is due."""
        if evaluation_is_due(self.trainer, self._period):
            self.trainer.evaluate(final=ended_epochs(self.trainer) == self.trainer.max_epoch)


class LogHook(HookBase):
    """Brings values to writers every ``period`` iterations and at the end of each epoch.

    Runs after the evaluation, whose metrics belong to the same line. The main process alone writes.
    """

    def __init__(self, build_writers: Callable[[], list[EventWriter]], period: int) -> None:
        self._build_writers = build_writers
        self._writers: list[EventWriter] = []
        self._period = period

    def before_train(self) -> None:
        """Opens the writers; not earlier, so that a resumed run may trim their files first."""
        self._writers = self._build_writers() if comm.is_main_process() else []

    def after_step(self) -> None:
        """Writes if a line is due."""
        if (self.trainer.iter + 1) % self._period == 0 or ended_epochs(self.trainer) is not None:
            self.write()

    def write(self) -> None:
        """Writes the newest values of the event storage."""
        for writer in self._writers:
            self._write(writer)

    def _write(self, writer: EventWriter) -> None:
        try:
            writer.write()
        except OSError as error:
            raise OSError(
                f"cannot write the log in {self.trainer.output_dir}: {error}; free disk space, "
                "then continue with --resume"
            ) from error

    def after_train(self) -> None:
        """Closes the writers; what ended the training is not hidden by a disk that is full."""
        for writer in self._writers:
            try:
                writer.close()
            except OSError as error:
                _logger.error(
                    "the last lines of the log in %s could not be written: %s",
                    self.trainer.output_dir,
                    error,
                )


class ProgressHook(LogHook):
    """Collects the means of the period and shows them on the console, before the evaluation."""

    def write(self) -> None:
        """Collects and shows; all processes collect."""
        self.trainer.record_progress()
        super().write()


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
        self._began = time.monotonic()

    def after_step(self) -> None:
        """Saves if it is due; stops the program if that was asked for."""
        done, epochs = self.trainer.iter + 1, ended_epochs(self.trainer)
        by_epoch = epochs is not None and self._epochs and epochs % self._epochs == 0
        by_count = self._iterations and done % self._iterations == 0
        over = self._is_over()
        signaled, by_time = self._agreement(bool(self._request.requested), over)
        last = done == self.trainer.max_iter
        if by_epoch or by_count or by_time or signaled or last:
            self.trainer.save_checkpoint()
            self._began = time.monotonic()
        if last:
            self._agreement.finish()
        elif signaled:
            self._agreement.finish()
            comm.synchronize()  # torchrun ends all as soon as one has ended; the file must be whole
            self._request.stop(f"saved after iteration {done}, continue with --resume")

    def _is_over(self) -> bool:
        """Whether the minutes are over on the main process; True once, a save may follow later."""
        over = 0 < self._seconds <= time.monotonic() - self._began and comm.is_main_process()
        if over:
            self._began = time.monotonic()
        return over


def ended_epochs(trainer: TrainerBase) -> int | None:
    """Returns how many epochs are done if the current iteration ends one, else None."""
    epochs, rest = divmod(trainer.iter + 1, trainer.iters_per_epoch)
    return None if rest else epochs


def evaluation_is_due(trainer: TrainerBase, period: int) -> bool:
    """Says whether an evaluation follows the current iteration."""
    epochs = ended_epochs(trainer)
    if epochs is None:
        return False
    return epochs == trainer.max_epoch or bool(period and epochs % period == 0)


class WeightsCheckHook(HookBase):
    """Checks what the hooks will evaluate, once, after the first step that this process trains."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = list(hooks)

    def after_step(self) -> None:
        """Raises ValueError for a tensor that the model does not have."""
        while self._hooks:
            hook = self._hooks.pop()
            check_weights_of(hook, self.trainer.model)


def check_weights_of(hook: Hook, model: nn.Module) -> None:
    """Raises ValueError if evaluated_weights has a name or a shape that is not the model's."""
    weights = model.state_dict()
    for name, tensor in hook.evaluated_weights().items():
        if name not in weights or weights[name].shape != tensor.shape:
            expected = (
                f"of shape {tuple(weights[name].shape)}" if name in weights else "no such tensor"
            )
            raise ValueError(
                f"the hook {hook.label}: evaluated_weights has {name!r} of shape "
                f"{tuple(tensor.shape)}, the model {expected}; use names of model.state_dict()"
            )


@contextmanager
def other_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Puts tensors into a model, and its own back at the end."""
    saved = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict({**saved, **weights})
    try:
        yield
    finally:
        model.load_state_dict(saved)
