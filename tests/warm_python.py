"""Python programs in processes of their own that need not import PyTorch again.

A server that has imported PyTorch and FastReID forks each of them, to compute in one thread; the
project's code is imported by the program itself, as anywhere.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from source_tree import ROOT

_HEAVY = ["wrimnet.compat", "fastreid.engine", "torch._dynamo", "torch.utils.tensorboard", "scipy"]


def warm_context() -> ForkServerContext:
    """Starts the server, if it does not run yet; a process has one at most."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_HEAVY)
    with patch.dict(os.environ, OMP_NUM_THREADS="1"):
        forkserver.ensure_running()
    return context


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run_python(*words: str, cwd: str | Path, seconds: float = 600) -> Ended:
    """Runs ``python WORDS`` in ``cwd``; the first word is a file or -c."""
    context = warm_context()
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, name)) for name in ("stdout", "stderr")]
        process = context.Process(target=_become, args=(words, str(cwd), files))
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{words} does not end within {seconds} s")
        return Ended(process.exitcode, *(Path(file).read_text() for file in files))


def _become(words: Sequence[str], cwd: str, files: list[str]) -> None:
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY), number)
    os.chdir(cwd)
    ours = tuple(str(ROOT / name) for name in ("tests", "tools", "examples"))
    sys.path[:] = [str(ROOT), *(p for p in sys.path if p != "" and not p.startswith(ours))]
    if words[0] == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.path.insert(0, str(Path(words[0]).parent))
        sys.argv = [*words]
        runpy.run_path(words[0], run_name="__main__")
