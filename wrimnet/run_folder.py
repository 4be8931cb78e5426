"""The folder of a run: what its files are called, and how they are read."""

import csv
import io
import json
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wrimnet.atomic_files import check_regular, write_bytes, write_text

# written by training
CONFIG, LOG, METRICS = "config.yaml", "log.txt", "metrics.jsonl"
RESULTS, RESULTS_TABLE = "results.json", "results.csv"
LAST, BEST, FINAL = "last_checkpoint", "model_best.pth", "model_final.pth"
ENVIRONMENT, FIGURES, FIGURE_LIST, REPORT = (
    "environment.json",
    "figures",
    "figures.json",
    "report.html",
)
EVALUATIONS = "eval"  # folder of evaluations, each in a folder of its own
# written by an export, by format
EXPORTED = {
    "onnx": ("wrimnet_visible.onnx", "wrimnet_infrared.onnx"),
    "safetensors": ("wrimnet.safetensors", CONFIG, "README.md"),
    "features": ("features.npz",),
}
# written by the tools that run experiments
RECORD, CONSOLE, COST, JOB = "run.json", "console.log", "cost.json", "job.json"

LOST = (LAST, FINAL, RESULTS)  # what no run leaves without a checkpoint
TRACES = (METRICS, BEST, RESULTS_TABLE, REPORT, *LOST)  # what tells of an earlier run
_CHECKPOINT = re.compile(r"checkpoint_\d{8,}\.pth")


def check_run_folder(folder: str | Path) -> Path:
    """Returns the folder of a run; FileNotFoundError lists runs below another folder."""
    if Path(folder).is_file():
        raise FileNotFoundError(f"{folder} is a file; give the folder of a run")
    if not Path(folder, CONFIG).is_file():
        raise FileNotFoundError(
            f"{folder} is not the folder of a run: it has no {CONFIG}{_runs_below(Path(folder))}"
        )
    return Path(folder)


def _runs_below(folder: Path) -> str:
    folders = [path.parent for path in (*folder.glob(f"*/{CONFIG}"), *folder.glob(f"*/*/{CONFIG}"))]
    runs = sorted(str(run) for run in folders if EVALUATIONS not in run.relative_to(folder).parts)
    more = f" and {len(runs) - 5} more" if len(runs) > 5 else ""
    return f"; runs below it: {', '.join(runs[:5])}{more}" if runs else ""


def query_file(folder: Path, protocol: str) -> Path:
    """Returns where the values of every query of a protocol are."""
    return folder / f"queries_{protocol}.csv"


def named_weights(label: str) -> str:
    """Returns the file of the final weights that a hook named: "model_final_ema.pth"."""
    return f"{Path(FINAL).stem}_{label}.pth"


def checkpoint_path(folder: Path, iteration: int) -> Path:
    """Returns the path of the checkpoint after so many iterations."""
    return folder / f"checkpoint_{iteration:08d}.pth"


def checkpoints(folder: Path) -> list[Path]:
    """Lists the full checkpoints of a run, newest first; other files are ignored."""
    files = [path for path in folder.glob("checkpoint_*.pth") if _CHECKPOINT.fullmatch(path.name)]
    return sorted((path for path in files if path.is_file()), reverse=True)


def run_files(folder: Path) -> list[str]:
    """Lists the files by which an earlier run in ``folder`` is recognized."""
    traces = [name for name in TRACES if (folder / name).exists()]
    return traces + [path.name for path in checkpoints(folder)]


def find_results(folder: str | Path) -> dict[str, Any] | None:
    """Returns the content of results.json, or None where the file is missing or torn.

    Raises ValueError: it holds something else than an evaluation writes.
    """
    path = Path(folder, RESULTS)
    check_regular(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):  # of the JSON or of its UTF-8
        return None
    if not isinstance(content, dict) or not content.get("results"):
        return None
    if problem := _damage(content, _CONTENT):
        raise ValueError(f"{path} is damaged: {problem}; remove it and evaluate again")
    return content


_NUMBERS = {"cmc": [float], "mAP": float, "mINP": float}
_CONTENT = {  # what every results.json has; a type, or a list of it
    "description": {"dataset": str, "split": str},
    "results": [
        {
            "protocol": str,
            "num_trials": int,
            "queries": [int],
            "whole": bool,
            "mean": _NUMBERS,
        }
    ],
}


def _damage(value: Any, expected: Any, place: str = "") -> str:
    """Says where a value of a JSON file is not of the expected type, "" if it is everywhere."""
    kind = expected if isinstance(expected, type) else type(expected)
    right = isinstance(value, (int, float) if kind is float else kind)
    if not right or (isinstance(value, bool) and kind is not bool):
        return f"{place or 'it'} is {reprlib.repr(value)}, expected {_KINDS[kind]}"
    if kind is float and not 0 <= value <= 1:
        return f"{place} is {value}, expected a share from 0 to 1, not a percentage"
    if isinstance(expected, dict):
        inner = ((f"{place}.{name}", value.get(name), of) for name, of in expected.items())
    elif isinstance(expected, list):
        inner = ((f"{place}[{n}]", each, expected[0]) for n, each in enumerate(value))
    else:
        return ""
    damages = (_damage(each, of, name.removeprefix(".")) for name, each, of in inner)
    return next(filter(None, damages), "")


_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
}


def read_results(folder: str | Path) -> dict[str, Any]:
    """Returns the content of results.json.

    Raises:
        FileNotFoundError: the run has none.
        ValueError: it is torn, or has no result.
    """
    results, path = find_results(folder), Path(folder, RESULTS)
    if results is None and path.is_file():
        raise ValueError(
            f"{path} has no result: its dataset has no protocols, or its end is missing; in the "
            "latter case --resume writes it again"
        )
    if results is None:
        raise FileNotFoundError(
            f"no {RESULTS} in {folder}; the run is not finished, or it is not a run's folder"
            f"{_runs_below(Path(folder))}"
        )
    return results


# What differs between results that may be compared: when and by what they were made. Plug-ins are
# compared by the hashes of their sources, see wrimnet.evaluation.plugin_sources.
_OWN_FACTS = ("weights", "code", "config", "changes", "compiled", "plugins")


def compared_facts(description: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the descriptions of results have to share for their numbers to be compared."""
    return {name: fact for name, fact in description.items() if name not in _OWN_FACTS}


def read_metrics(folder: str | Path) -> list[dict[str, Any]]:
    """Returns the whole lines of metrics.jsonl, oldest first, none where there is no such file.

    Raises ValueError: a whole line is no JSON object of a logged iteration; names it.
    """
    path = Path(folder, METRICS)
    check_regular(path)
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    return [_parse(line, f"line {number} of {path}") for number, line in enumerate(whole, start=1)]


def _parse(line: bytes, place: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:  # of the JSON or of its UTF-8
        raise ValueError(f"{place} is damaged ({error}); remove it to go on") from error
    if not isinstance(content, dict) or not isinstance(content.get("iteration"), int):
        raise ValueError(
            f"{place} is {reprlib.repr(content)}, expected an object with an iteration"
        )
    return content


def kind_of(name: str) -> str:
    """Whether a logged quantity of metrics.jsonl is a loss, of a test, or of speed and rate."""
    if "loss" in name or name.startswith("raw/"):
        return "loss"
    return "test" if "/" in name else "speed"


def write_metrics(folder: str | Path, lines: Sequence[dict[str, Any]]) -> None:
    """Writes metrics.jsonl anew."""
    text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
    write_text(Path(folder, METRICS), text)


def drop_metrics_after(folder: str | Path, iteration: int) -> None:
    """Removes the lines of metrics.jsonl that a run resumed after an iteration writes again."""
    lines = read_metrics(folder)
    if lines:
        write_metrics(folder, [line for line in lines if line["iteration"] <= iteration])


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file, None where there is none."""
    check_regular(path)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    write_bytes(path, encode_json(content))


def encode_json(content: Any) -> bytes:
    """Returns JSON in UTF-8; bytes of file names that are not UTF-8 become JSON's own escapes."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV file, whole or not at all."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())
