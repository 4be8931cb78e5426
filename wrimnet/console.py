"""What the person at the console reads: messages of loggers named ``.console``, and warnings.

The log has everything. Progress bars are shown on a terminal only.
"""

import io
import logging
import os
import sys
import textwrap
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

from tqdm import tqdm

from wrimnet.atomic_files import check_regular

WIDTH = 160
LONGEST = 2000  # characters of a line of a message
_ROOTS = ("fastreid", "wrimnet")  # the data layer knows no FastReID


_replaced: list[Any] = []


def open_streams() -> None:
    """Makes standard output and error such that nothing printed can end the work.

    What cannot be encoded is escaped. What cannot be written, to a pipe that nobody reads or a
    full disk, is dropped. Streams that are closed are opened to nowhere, and so are their numbers,
    which the next opened file would get otherwise.
    """
    for number in range(3):
        _reserve(number)
    _replaced.extend((sys.stdout, sys.stderr))  # forgotten, they would close their descriptors
    sys.stdout, sys.stderr = (_lasting(stream) for stream in (sys.stdout, sys.stderr))


def _reserve(number: int) -> None:
    """Opens a file descriptor to nowhere if it is closed."""
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere == number:
            os.set_inheritable(number, True)
        else:
            os.dup2(nowhere, number)
            os.close(nowhere)


def _lasting(stream: Any) -> Any:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")
    if type(stream) is not io.TextIOWrapper:  # of a notebook or a test, which has no descriptor
        return stream
    raw = _DroppingFile(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,
    )


class _DroppingFile(io.FileIO):
    """A file that drops what cannot be written."""

    def write(self, data: Any) -> int:
        """Writes bytes; returns their number, written or dropped."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def open_log(file: Path | None = None, rank: int = 0) -> None:
    """Sends what is for the console there, and everything to a file.

    What an earlier call opened is closed; what was logged since a call without a file is written to
    the file as well. A process that is not the main one of its job shows its warnings only, with
    its rank.

    Args:
        file: of the log, which is appended to; None for none.
        rank: of this process.
    """
    console = _Console(rank)
    kept = _file_handler(file) if file else MemoryHandler(0)
    for name in _ROOTS:
        log = logging.getLogger(name)
        for old in log.handlers:
            if isinstance(old, MemoryHandler) and file:
                old.setTarget(kept)
            old.close()
        log.handlers = [console, kept]
        log.setLevel(logging.INFO)
    logging.getLogger("fastreid").propagate = False


def _file_handler(file: Path) -> logging.Handler:
    check_regular(file)
    handler = logging.FileHandler(file, encoding="utf-8")
    text = "[%(asctime)s] %(name)s %(levelname)s: %(message)s"
    handler.setFormatter(logging.Formatter(text, "%m/%d %H:%M:%S"))
    return handler


class _Console(logging.Handler):
    """Writes above the bars, so that none is torn; the same warning once."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self._rank = rank
        self._warned: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets new warnings pass, and on the main process the loggers named for it."""
        if record.levelno < logging.WARNING:
            return record.name.endswith(".console") and self._rank == 0
        text, known = record.getMessage(), len(self._warned)
        self._warned.add(text)
        return len(self._warned) > known

    def emit(self, record: logging.LogRecord) -> None:
        """Writes lines of at most WIDTH characters; a warning says that it is one."""
        text = self.format(record)
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        if self._rank:
            text = f"[rank {self._rank}] {text}"
        tqdm.write("\n".join(wrapped(without_middles(text))), file=sys.stdout)
        sys.stdout.flush()


def without_middles(text: str) -> str:
    """Leaves out the middle of very long lines, such as those of a damaged file."""
    half = LONGEST // 2
    return "\n".join(
        line
        if len(line) <= LONGEST
        else f"{line[:half]} ... ({len(line) - 2 * half} characters) ... {line[-half:]}"
        for line in text.split("\n")
    )


def wrapped(text: str) -> list[str]:
    """Splits lines that are too long between their words; a longer path stays whole."""
    lines: list[str] = []
    for line in text.splitlines():
        if len(line) <= WIDTH:
            lines.append(line)
            continue
        lines += textwrap.wrap(
            line, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        )
    return lines
