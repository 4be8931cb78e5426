"""A disk that is full and a folder that is read-only, while a run goes on."""

import os
import shutil
import subprocess
from pathlib import Path

from fault_drill.comparison import unreadable_last
from fault_drill.faults import FaultDrill, Outcome, judged


def full_disk(drill: FaultDrill, *, mounts: bool) -> Outcome:
    """Goes on half-way without room for the next checkpoint, then with room.

    Args:
        drill: has the run.
        mounts: whether to try a small file system; else, and where that is not possible, the
            process may write no file as large as a checkpoint.
    """
    output = drill.half_way("full")
    size = max(path.stat().st_size for path in output.glob("checkpoint_*.pth"))
    if mounts and _mount(output, f"size={3 * size}"):
        try:
            _fill(output)
            return _full_disk(drill, output, "tmpfs", room="size=4g")
        finally:
            _unmount(output)
    return _full_disk(drill, output, "failing writer", file_bytes=size // 2)


def no_inodes(drill: FaultDrill) -> list[Outcome]:
    """Goes on half-way where space is left, but only one more file can be made; then more can.

    No row where no file system can be mounted.
    """
    output = drill.half_way("inodes")
    entries = 1 + sum(1 for _ in output.rglob("*"))
    if not _mount(output, f"size=4g,nr_inodes={entries + 1}"):
        return []
    try:
        return [_full_disk(drill, output, "no inodes", room="nr_inodes=1000")]
    finally:
        _unmount(output)


def _full_disk(
    drill: FaultDrill, output: Path, kind: str, *, room: str = "", **limit: int
) -> Outcome:
    before = {path.name: path.read_bytes() for path in output.glob("checkpoint_*.pth")}
    code, text = drill.starter.finish(output, **limit)
    problems = [] if code == 2 and "cannot write" in text else [f"exit code {code}: {text[-300:]}"]
    broken = unreadable_last(output)
    problems += [f"previous checkpoint broken: {broken}"] if broken else []
    after = {path.name: path.read_bytes() for path in output.glob("checkpoint_*.pth")}
    problems += [] if after == before else ["a checkpoint has changed"]
    if room:
        (output / "filling").unlink(missing_ok=True)
        _remount(output, room)
    problems += drill.ends_as_reference(output)
    return judged(f"full disk ({kind})", problems, "clear error, checkpoints whole, went on")


def read_only_folder(drill: FaultDrill) -> list[Outcome]:
    """Goes on half-way in a folder that cannot be written, then in one that can.

    Root may write everywhere, so that it needs a file system of its own; no row where neither way
    is open.
    """
    output = drill.half_way("read_only")
    if _mount(output, "size=2g"):
        try:
            _remount(output, "ro")
            problems = _refused(drill, output)
            _remount(output, "rw")
            problems += drill.ends_as_reference(output)
        finally:
            _unmount(output)
    elif os.geteuid() != 0:
        output.chmod(0o555)
        problems = _refused(drill, output)
        output.chmod(0o755)
        problems += drill.ends_as_reference(output)
    else:
        return []
    return [judged("read-only folder", problems, "clear error, checkpoints whole, went on")]


def _refused(drill: FaultDrill, output: Path) -> list[str]:
    code, text = drill.starter.finish(output)
    said = code == 2 and "cannot be written" in text
    broken = unreadable_last(output)
    return ([] if said else [f"exit code {code}: {text[-300:]}"]) + ([broken] if broken else [])


def _mount(output: Path, options: str) -> bool:
    """Lays a file system in memory over ``output``, with the same content."""
    content = output.with_name(f"{output.name}_content")
    output.rename(content)
    output.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(output)]
    done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    shutil.copytree(content, output, dirs_exist_ok=True)
    shutil.rmtree(content)
    return done


def _remount(output: Path, *options: str) -> None:
    subprocess.run(["mount", "-o", ",".join(["remount", *options]), str(output)], check=True)


def _unmount(output: Path) -> None:
    subprocess.run(["umount", str(output)], check=True)


def _fill(output: Path) -> None:
    """Leaves room for a few megabytes, less than a checkpoint."""
    free = shutil.disk_usage(output).free
    with (output / "filling").open("wb") as file:
        for _ in range(max(0, free // 2**20 - 20)):
            file.write(bytes(2**20))
