"""How a tool was called, for the records of what it made."""

import shlex
import sys
from pathlib import Path


def called_as() -> str:
    """The command line of this process, as a user would write it."""
    return shlex.join(["python", str(seen_from_here(Path(sys.argv[0]))), *sys.argv[1:]])


def seen_from_here(path: Path) -> Path:
    """The path relative to the working folder where it lies below it, so that records can move."""
    resolved, here = path.resolve(), Path.cwd()
    return resolved.relative_to(here) if resolved.is_relative_to(here) else path
