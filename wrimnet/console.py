"""What the person at the console reads: messages of loggers named ``.console``, and warnings.

The log has everything. On a terminal bars show where a wait stands; elsewhere they are silent.
"""

import logging
import sys
import textwrap
from pathlib import Path

from tqdm import tqdm

WIDTH = 160
_ROOTS = ("fastreid", "wrimnet")  # the data layer knows no FastReID


def open_log(file: Path | None = None, rank: int = 0) -> None:
    """Sends what is for the console there, and everything to a file.

    What an earlier call opened is closed. A process that is not the main one of its job shows its
    warnings only, with its rank.

    Args:
        file: of the log, which is appended to; None for none.
        rank: of this process.
    """
    handlers: list[logging.Handler] = [_Console(rank)]
    if file is not None:
        handlers.append(logging.FileHandler(file, encoding="utf-8"))
        handlers[1].setFormatter(
            logging.Formatter("[%(asctime)s] %(name)s %(levelname)s: %(message)s", "%m/%d %H:%M:%S")
        )
    for name in _ROOTS:
        log = logging.getLogger(name)
        for old in log.handlers:
            old.close()
        log.handlers = list(handlers)
        log.setLevel(logging.INFO)
    logging.getLogger("fastreid").propagate = False


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
        tqdm.write("\n".join(wrapped(text)), file=sys.stdout)
        sys.stdout.flush()


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
