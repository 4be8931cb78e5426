"""Which runs go where: GPUs, how many at once, how many CPU threads each."""

import os
from collections.abc import Sequence

from wrimnet.lab.experiments.run_queue import Slot

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_UNIQUE_NAMES = ("GPU-", "MIG-")  # beginnings of names that CUDA_VISIBLE_DEVICES takes, too


def make_slots(
    gpus: Sequence[str], jobs: int | None, threads: int | None, *, cores: int | None = None
) -> list[Slot]:
    """Returns one slot per run that may run at once; more jobs than GPUs share them in turn.

    ``gpus`` are named as CUDA_VISIBLE_DEVICES takes them, empty for the CPU; ``jobs`` None is one
    per GPU, or one on the CPU; ``threads`` None divides the cores evenly.

    Raises:
        ValueError: a number below 1.
    """
    jobs = max(1, len(gpus)) if jobs is None else jobs
    threads = max(1, (cores or os.cpu_count() or 1) // max(1, jobs)) if threads is None else threads
    for flag, number in (("--jobs", jobs), ("--threads", threads)):
        if number < 1:
            raise ValueError(f"{flag} {number}: expected at least 1")
    environment = thread_variables(threads)
    if not gpus:
        return [Slot(f"cpu:{number}", environment) for number in range(jobs)]
    chosen = [gpus[number % len(gpus)] for number in range(jobs)]
    return [Slot(f"gpu:{gpu}", {**environment, "CUDA_VISIBLE_DEVICES": gpu}) for gpu in chosen]


def thread_variables(threads: int) -> dict[str, str]:
    """Returns the environment variables that bound the CPU threads of a process."""
    return dict.fromkeys(_THREAD_VARIABLES, str(threads))


def visible_gpus(num_devices: int) -> list[str]:
    """Names the GPUs that this process sees, as a child's CUDA_VISIBLE_DEVICES takes them."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in listed.split(",") if name.strip()]
    return (names or [str(number) for number in range(num_devices)])[:num_devices]


def choose_gpus(requested: Sequence[str] | None, num_devices: int) -> list[str]:
    """Returns the GPUs of --gpus: None for all that are visible, [] for the CPU.

    Raises:
        ValueError: one that is not visible.
    """
    visible = visible_gpus(num_devices)
    if requested is None:
        return visible
    missing = [
        name for name in requested if name not in visible and not name.startswith(_UNIQUE_NAMES)
    ]
    if missing or (requested and not visible):
        raise ValueError(
            f"--gpus {' '.join(requested)}: PyTorch sees {', '.join(visible) or 'no GPU'} here; "
            "--gpus without a name runs on the CPU"
        )
    return list(requested)
