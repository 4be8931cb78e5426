"""Small training runs in processes of their own, which may be killed."""

import contextlib
import multiprocessing
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from warm_python import warm_context

from wrimnet.command_line import run_tool
from wrimnet.config import setup_cfg

HANG_SECONDS = 600.0  # a whole run takes seconds; machines may be busy
POLL_SECONDS = 0.002
# A run of eight iterations with four checkpoints and two evaluations.
KEYS = {
    "MODEL.DEVICE": "cpu",
    "DETERMINISTIC": "True",
    "INPUT.SIZE_TRAIN": "[32, 16]",
    "INPUT.SIZE_TEST": "[32, 16]",
    "DATALOADER.NUM_INSTANCE": "2",
    "DATALOADER.NUM_WORKERS": "1",
    "DATALOADER.CACHE": "none",
    "DATALOADER.TIMEOUT": "5",
    "SOLVER.IMS_PER_BATCH": "8",
    "SOLVER.ITERS_PER_EPOCH": "4",
    "SOLVER.MAX_EPOCH": "2",
    "SOLVER.STEPS": "[1]",
    "SOLVER.LOG_PERIOD": "3",
    "SOLVER.CHECKPOINT_PERIOD": "1",
    "SOLVER.CHECKPOINT_ITERS": "2",
    "TEST.EVAL_PERIOD": "1",
    "TEST.NUM_TRIALS": "2",
    "TEST.IMS_PER_BATCH": "16",
}


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a process shall do.

    Attributes:
        config_file: YAML file.
        output: OUTPUT_DIR.
        data: DATASETS.ROOT.
        keys: values laid over :data:`KEYS`.
        resume: as ``--resume``.
        eval_only: as ``--eval-only``.
        file_bytes: the largest file the process may write; 0 for any.
        text_name: of the file beside ``output`` that is printed to; "": as ``output``.
    """

    config_file: str
    output: Path
    data: Path
    keys: dict[str, str] = field(default_factory=dict)
    resume: bool = True
    eval_only: bool = False
    file_bytes: int = 0
    text_name: str = ""


class Run:
    """A running process, whose output goes to a file beside its folder."""

    def __init__(self, order: Order, context: multiprocessing.context.BaseContext) -> None:
        self.text_file = order.output.with_name(f"{order.text_name or order.output.name}.txt")
        self.text_file.write_bytes(b"")
        self.started = time.monotonic()
        # no daemon: those may not start the processes that build a cache
        self._process: BaseProcess = context.Process(
            target=_work, args=(order, str(self.text_file))
        )
        self._process.start()

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.is_alive()

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    def text(self) -> str:
        """What it has printed so far."""
        return self.text_file.read_text(errors="replace")

    def send(self, number: int) -> None:
        """Sends a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills the process where it stands."""
        self._process.kill()
        self._process.join()

    def wait(self) -> int | None:
        """Waits for its end; returns the exit code (negative: the signal), None if it hangs."""
        self._process.join(HANG_SECONDS)
        if self._process.exitcode is None:
            self.kill()
            return None
        return self._process.exitcode


class Starter:
    """Starts runs; the imports are done once, in a server that forks.

    Args:
        config_file: YAML file of the runs.
        data: DATASETS.ROOT.
    """

    def __init__(self, config_file: str, data: Path) -> None:
        self.config_file, self.data = config_file, data
        self._context = warm_context()

    def start(self, output: Path, **options: object) -> Run:
        """Starts a run to ``output``; ``options`` are those of :class:`Order`."""
        chosen = {"config_file": self.config_file, "data": self.data, **options}
        return Run(Order(output=output, **chosen), self._context)

    def finish(self, output: Path, **options: object) -> tuple[int | None, str]:
        """Runs to the end; returns the exit code and what was printed."""
        run = self.start(output, **options)
        return run.wait(), run.text()


def _work(order: Order, text_file: str) -> None:
    text = os.open(text_file, os.O_WRONLY | os.O_APPEND)
    os.dup2(text, 1)
    os.dup2(text, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    if order.file_bytes:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (order.file_bytes, order.file_bytes))
    run_tool(lambda: _command(order))


def _command(order: Order) -> int:
    places = {"OUTPUT_DIR": str(order.output), "DATASETS.ROOT": str(order.data)}
    words = [word for pair in {**KEYS, **places, **order.keys}.items() for word in pair]
    cfg = setup_cfg(order.config_file, (), words)
    from wrimnet.engine.run import evaluate, train  # heavy imports, done in the server

    return evaluate(cfg) if order.eval_only else train(cfg, resume=order.resume)
