"""Where runs may run: a slot is one place for one run, with its device and its threads."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Slot(NamedTuple):
    """Room for one run; the environment variables bind it to its device and its threads."""

    name: str
    environment: Mapping[str, str]


def make_slots(
    gpus: Sequence[str], jobs: int | None, threads: int | None, *, cores: int | None = None
) -> list[Slot]:
    """Returns one slot per run that may run at once.

    Args:
        gpus: names of GPUs as CUDA_VISIBLE_DEVICES takes them; empty for the CPU.
        jobs: runs at once; None for one per GPU, or one on the CPU. More than there are GPUs share
            them in turn.
        threads: CPU threads of a run; None divides the cores evenly.
        cores: of this machine; None asks it.

    Raises:
        ValueError: a number below 1.
    """
    jobs = max(1, len(gpus)) if jobs is None else jobs
    threads = max(1, (cores or os.cpu_count() or 1) // max(1, jobs)) if threads is None else threads
    if jobs < 1 or threads < 1:
        raise ValueError(f"--jobs {jobs} --threads {threads}: expected at least 1 of each")
    environment = dict.fromkeys(THREAD_VARIABLES, str(threads))
    if not gpus:
        return [Slot(f"cpu:{number}", environment) for number in range(jobs)]
    chosen = [gpus[number % len(gpus)] for number in range(jobs)]
    return [Slot(f"gpu:{gpu}", {**environment, "CUDA_VISIBLE_DEVICES": gpu}) for gpu in chosen]


def visible_gpus(num_devices: int) -> list[str]:
    """Names the GPUs that this process sees, as a child's CUDA_VISIBLE_DEVICES takes them."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in listed.split(",") if name.strip()]
    return (names or [str(number) for number in range(num_devices)])[:num_devices]
