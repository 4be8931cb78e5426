"""The file metrics.json: one JSON object per line and logged iteration."""

import json
from pathlib import Path
from typing import Any

from wrimnet.engine.checkpointing import write_atomically


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Returns the lines of ``path``, oldest first; a half-written last line is left out."""
    lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def drop_lines_from(path: Path, iteration: int) -> None:
    """Removes the lines of ``iteration`` and later, which a resumed run writes again."""
    if not path.exists():
        return
    kept = [line for line in read_metrics(path) if line["iteration"] < iteration]
    text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in kept)
    write_atomically(path, lambda file: file.write(text.encode()))
