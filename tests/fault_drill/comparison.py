"""What two runs left behind, compared bit by bit; only times may differ."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wrimnet.modeling.weights import read_checkpoint, verify
from wrimnet.run_folder import BEST, FINAL, LAST, METRICS, RESULTS, read_metrics, read_results

TIMES = frozenset({"time", "data_time", "images_per_second", "seconds", "data_seconds"})


def differences(reference: Path, output: Path) -> list[str]:
    """Lists where the run in ``output`` ended differently from the one in ``reference``.

    Compares the weights of the end and the best ones, the whole state of the last checkpoint,
    metrics.jsonl line by line, results.json and what TensorBoard shows.
    """
    found: list[str] = []
    for name in (FINAL, BEST, (reference / LAST).read_text()):
        if not (output / name).is_file():
            found.append(f"{name} is missing")
            continue
        states = (read_checkpoint(folder / name) for folder in (reference, output))
        found += unequal(*states, name)
    for name, read in ((METRICS, read_metrics), (RESULTS, _results_of)):
        if not (output / name).is_file():
            found.append(f"{name} is missing")
            continue
        found += unequal(read(reference), read(output), name)
    return found + list(unequal(_shown(reference), _shown(output), "TensorBoard"))


def unequal(expected: Any, found: Any, place: str) -> Iterator[str]:
    """Yields the places where two nested values differ, times left out."""
    if torch.is_tensor(expected) and torch.is_tensor(found):
        if expected.dtype != found.dtype or not torch.equal(expected, found):
            yield f"{place} has other numbers"
    elif isinstance(expected, dict) and isinstance(found, dict):
        for name in sorted({*expected, *found}, key=str):
            if name in TIMES:
                continue
            if name not in expected or name not in found:
                yield f"{place}.{name} is {'missing' if name in expected else 'new'}"
            else:
                yield from unequal(expected[name], found[name], f"{place}.{name}")
    elif isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)):
        if len(expected) != len(found):
            yield f"{place} has {len(found)} entries, expected {len(expected)}"
        for index, pair in enumerate(zip(expected, found, strict=False)):
            yield from unequal(*pair, f"{place}[{index}]")
    elif expected != found:
        yield f"{place} is {found!r}, expected {expected!r}"


def unreadable_last(output: Path) -> str:
    """Says what is wrong with the file that ``last_checkpoint`` names; "" if nothing is."""
    pointer = output / LAST
    if not pointer.is_file():
        return ""
    path = output / pointer.read_text()
    try:
        verify(path)
        read_checkpoint(path)
    except (ValueError, OSError) as error:
        return f"{path.name}: {error}"
    return ""


def _results_of(folder: Path) -> list[Any]:
    return read_results(folder)["results"]  # the description holds the folder's name


def _shown(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.split("/")[-1] not in TIMES]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}
