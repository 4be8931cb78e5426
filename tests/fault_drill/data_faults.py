"""Images that go bad, a disk that stalls and a process that dies while a run goes on."""

import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from fault_drill.faults import FaultDrill, Outcome, judged
from fault_drill.runs import HANG_SECONDS, POLL_SECONDS, Run

LIMIT_SECONDS = 30.0
LONG = {"SOLVER.ITERS_PER_EPOCH": "2000", "SOLVER.CHECKPOINT_ITERS": "0", "SOLVER.LOG_PERIOD": "1"}


def quick_bad_images(drill: FaultDrill) -> list[Outcome]:
    """Images cut short in training, and some that were bad from the start and are skipped."""
    return [_goes_bad(drill, "image cut short", _cut_short), _skipped(drill)]


def bad_images(drill: FaultDrill) -> list[Outcome]:
    """Images that go bad in training or evaluation, and some that are skipped."""
    faults = {
        "image cut short": _cut_short,
        "image emptied": lambda path: os.truncate(path, 0),
        "image vanished": Path.unlink,
        "image overwritten with text": lambda path: path.write_text("no image"),
        "disk stalls while an image is read": _stall,
    }
    rows = [_goes_bad(drill, name, damage) for name, damage in faults.items()]
    return [*rows, _stalled_evaluation(drill), _skipped(drill)]


def _goes_bad(drill: FaultDrill, name: str, damage: Callable[[Path], None]) -> Outcome:
    data, output = _copy_data(drill), drill.folder / "bad_image"
    run = drill.starter.start(output, data=data, keys=LONG)
    _await_text(run, r"iter +1/")
    images = _train_images(data)
    begin = time.monotonic()
    for path in images:
        damage(path)
    code = run.wait()
    problems = _named(run, code, time.monotonic() - begin, images)
    shutil.rmtree(output)
    return judged(name, problems, f"named within {time.monotonic() - begin:.1f} s")


def _stalled_evaluation(drill: FaultDrill) -> Outcome:
    data, output = _copy_data(drill), drill.folder / "stalled"
    images = sorted(data.rglob("test_vis/**/*.jpg"))
    _stall(images[0])
    keys = {"MODEL.WEIGHTS": str(drill.reference / "model_final.pth")}
    run = drill.starter.start(output, data=data, keys=keys, eval_only=True)
    _await_text(run, r"\noutput +")
    begin = time.monotonic()
    code = run.wait()
    seconds = time.monotonic() - begin
    problems = _named(run, code, seconds, images[:1])
    return judged("disk stalls while evaluating", problems, f"named within {seconds:.1f} s")


def _skipped(drill: FaultDrill) -> Outcome:
    """One bad image per identity with ON_BAD_IMAGE skip: counted and reported, twice alike."""
    data, output = _copy_data(drill), drill.folder / "skipped"
    bad = {path.parent: path for path in _train_images(data)}.values()
    for path in bad:
        os.truncate(path, 0)
    code, text = drill.starter.finish(output, data=data, keys={"DATALOADER.ON_BAD_IMAGE": "skip"})
    problems = [] if code == 0 else [f"exit code {code}: {text[-300:]}"]
    if "images were skipped and replaced by others" not in text:
        problems.append("the skipped images were not reported")
    shutil.rmtree(output)
    return judged("bad images with ON_BAD_IMAGE skip", problems, "counted, named in the log")


def dying_worker(drill: FaultDrill) -> list[Outcome]:
    """SIGKILL for a process that builds the image cache."""
    data, output = _copy_data(drill), drill.folder / "worker"
    keys = {"DATALOADER.CACHE": "disk", "DATALOADER.CACHE_DIR": str(drill.folder / "cache")}
    run = drill.starter.start(output, data=data, keys=keys)
    while run.running and not (workers := _pool_processes(run.pid)):
        time.sleep(POLL_SECONDS)
    begin = time.monotonic()
    os.kill(workers[0], signal.SIGKILL)
    code = run.wait()
    seconds = time.monotonic() - begin
    problems = _named(run, code, seconds, _train_images(data))
    left = list((drill.folder / "cache").glob("*.cache"))
    problems += [f"half a cache was left: {left}"] if left else []
    again, text = drill.starter.finish(output, data=data, keys=keys)
    problems += [f"exit code {again} after it: {text[-300:]}"] if again else []
    return [judged("cache-building process killed", problems, f"named within {seconds:.1f} s")]


def _named(run: Run, code: int | None, seconds: float, images: list[Path]) -> list[str]:
    """What is wrong with how a fault of these images was told."""
    last_line = run.text().rpartition("error: ")[2]  # it may be wrapped
    problems = [] if code == 2 else [f"exit code {code}: {run.text()[-300:]}"]
    if not any(path.name in last_line for path in images):
        problems.append(f"no file is named: {last_line[-300:]}")
    if seconds > LIMIT_SECONDS:
        problems.append(f"it took {seconds:.0f} s")
    return problems


def _copy_data(drill: FaultDrill) -> Path:
    data = drill.folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(drill.starter.data, data)
    return data


def _train_images(data: Path) -> list[Path]:
    return [path for name in ("vis", "nir") for path in sorted(data.glob(f"LLCM/{name}/*/*.jpg"))]


def _cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _stall(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)  # opening it waits for a writer that never comes


def _await_text(run: Run, pattern: str) -> None:
    """Waits for what a run prints; one that never does ends the drill."""
    deadline = time.monotonic() + HANG_SECONDS
    while run.running and not re.search(pattern, run.text()):
        assert time.monotonic() < deadline, f"{pattern!r} is not in: {run.text()[-2000:]}"
        time.sleep(POLL_SECONDS)


def _pool_processes(pid: int) -> list[int]:
    """Child processes that multiprocessing has spawned to work, its resource tracker not."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(word) for file in files for word in file.read_text().split()]
    command = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child in children if b"spawn_main" in command[child]]
