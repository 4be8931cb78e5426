"""The file metrics.json: one JSON object per line and logged iteration."""

import json
from pathlib import Path
from typing import Any

from wrimnet.engine.checkpointing import write_atomically


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Returns the lines of ``path``, oldest first; a half-written last line is left out.

    Raises:
        ValueError: a whole line is no JSON object of a logged iteration; names it.
    """
    lines = Path(path).read_bytes().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    return [_parse(line, f"line {number} of {path}") for number, line in enumerate(whole, start=1)]


def _parse(line: bytes, place: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except ValueError as error:  # of the JSON or of its UTF-8
        raise ValueError(f"{place} is damaged ({error}); remove it to go on") from error
    if not isinstance(content, dict) or not isinstance(content.get("iteration"), int):
        raise ValueError(f"{place} is {content!r}, expected an object with an iteration")
    return content


def drop_lines_from(path: Path, iteration: int) -> None:
    """Removes the lines of ``iteration`` and later, which a resumed run writes again."""
    if not path.exists():
        return
    kept = [line for line in read_metrics(path) if line["iteration"] < iteration]
    text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in kept)
    write_atomically(path, lambda file: file.write(text.encode()))
