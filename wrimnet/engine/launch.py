"""Starts a program in several processes of this machine, as torchrun does."""

import os
from collections.abc import Mapping, Sequence

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun


def to_be_launched(num_processes: int, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process only starts the others.

    Raises ValueError: fewer than one process, or another number than torchrun has started.
    """
    if num_processes < 1:
        raise ValueError(f"--num-gpus {num_processes}: expected at least 1")
    if "TORCHELASTIC_RUN_ID" not in environ:
        return num_processes > 1
    started = int(environ["LOCAL_WORLD_SIZE"])
    if num_processes not in (1, started):
        raise ValueError(
            f"--num-gpus {num_processes} under torchrun with {started} processes; leave it out"
        )
    return False


def launch(num_processes: int, command: Sequence[str]) -> int:
    """Runs a program in several processes of this machine, one for each GPU.

    Returns 0, or the exit code of the first process that failed; 1 if a signal ended it.
    """
    try:
        torchrun(["--standalone", f"--nproc-per-node={num_processes}", *command])
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        print(error)
        return max(failure.exitcode, 1)
    return 0
