"""Runs a function in several processes of one gloo group, as torchrun would start them."""

import multiprocessing
import os
import socket
import sys
import time
import traceback
from pathlib import Path

import torch

FOLDERS = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]
PATIENCE_SECONDS = 600  # a busy machine; an idle one needs a few seconds

# Imported once by the server that the processes are forked from.
PRELOAD = ["torch", "shares_of_a_batch", "wrimnet.engine.run"]


def run_in_processes(function, count, folder, *arguments):
    """Calls ``function(*arguments)`` in ``count`` processes; returns what each of them returned."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    port = free_port()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    processes = [
        context.Process(target=_run, args=(function, rank, count, port, folder, arguments))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    end = time.monotonic() + PATIENCE_SECONDS
    for process in processes:
        process.join(max(0.1, end - time.monotonic()))
    stuck = [process for process in processes if process.is_alive()]
    for process in stuck:
        process.kill()
    failures = [path.read_text() for path in sorted(folder.glob("failure*.txt"))]
    assert not failures, failures[0]
    assert not stuck, f"{len(stuck)} processes did not end"
    return [torch.load(folder / f"rank{rank}.pth", weights_only=False) for rank in range(count)]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _run(function, rank, count, port, folder, arguments):
    sys.path[:0] = [folder for folder in FOLDERS if folder not in sys.path]
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    try:
        torch.save(function(*arguments), folder / f"rank{rank}.pth")
    except BaseException:
        (folder / f"failure{rank}.txt").write_text(f"rank {rank}\n{traceback.format_exc()}")
        raise
