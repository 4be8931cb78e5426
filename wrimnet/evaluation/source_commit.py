"""The commit that git knows a source file by."""

import subprocess
from pathlib import Path


def source_commit(file: Path) -> str | None:
    """Returns the commit of a tracked file, None without one.

    A commit with changed files is marked "+changes".
    """
    folder = file.parent
    tracked = _git(folder, "ls-files", "--error-unmatch", file.name)
    commit = _git(folder, "rev-parse", "HEAD")
    if not tracked or not commit:
        return None  # installed as a package, perhaps inside somebody else's repository
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
    except OSError:  # git is not installed
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
