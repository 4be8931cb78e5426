"""The whole drill and its table."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from fault_drill.data_faults import bad_images, dying_worker, quick_bad_images
from fault_drill.disk_faults import full_disk, no_inodes, read_only_folder
from fault_drill.faults import FaultDrill, Outcome
from fault_drill.input_faults import exploding_loss, hostile_weights, hostile_yaml, misfits
from fault_drill.kills import MOMENTS, KillCount, KillDrill
from fault_drill.runs import Starter
from fault_drill.store_faults import builders_at_once, killed_appends


class Size(NamedTuple):
    """How much is tried.

    Attributes:
        kills: number of kills; 0 for none.
        jobs: runs that are killed at the same time.
        together: whether kills and other faults are tried at the same time.
        faults: other faults: "none", "quick" or "all".
    """

    kills: int
    jobs: int
    together: bool
    faults: str


GENERATOR = Path(__file__).resolve().parents[2] / "tools" / "make_synthetic.py"
SHORT = Size(kills=3, jobs=1, together=True, faults="quick")
LONG = Size(kills=60, jobs=2, together=False, faults="all")


def make_data(folder: Path) -> Path:
    """Draws a small dataset in LLCM's layout; returns its DATASETS.ROOT."""
    words = "--layout llcm --train-ids 4 --test-ids 3 --images-per-id 4 --test-images-per-id 4"
    size = "--height 48 --width 24 --workers 1"
    root = folder / "synthetic"
    tool = [sys.executable, str(GENERATOR), "--out", str(root)]
    subprocess.run([*tool, *words.split(), *size.split()], check=True, capture_output=True)
    return root


def run_drill(
    *, folder: Path, config_file: str, size: Size, report: Callable[[Outcome], None], seed: int = 0
) -> list[Outcome]:
    """Runs the drill.

    Args:
        folder: an empty one; gets data and output.
        config_file: YAML file of the runs, which the keys of a tiny run are laid over.
        size: how much is tried.
        report: called with each row as it is there.
        seed: of the moments of the kills.

    Returns:
        The rows of the table.
    """
    starter, reference = Starter(config_file, make_data(folder)), folder / "reference"
    starter.finish(folder / "first", config_file="none.yml")  # waits for the imports, and ends
    begin = time.monotonic()
    code, text = starter.finish(reference)
    assert code == 0, f"the uninterrupted run ended with {code}: {text[-2000:]}"
    common = {"starter": starter, "reference": reference}
    kills = {"duration": time.monotonic() - begin, "seed": seed, **common}
    kill_rows = chain(_kill_rows(folder, size, kills), _store_rows(folder, size, starter.data))
    parts = [kill_rows, _fault_rows(folder, size, common)]
    with ThreadPoolExecutor(2 if size.together else 1) as pool:
        return list(chain(*pool.map(partial(_reported, report), parts)))


def _reported(report: Callable[[Outcome], None], rows: Iterator[Outcome]) -> list[Outcome]:
    done = []
    for row in rows:
        report(row)
        done.append(row)
    return done


def _kill_rows(folder: Path, size: Size, common: dict[str, Any]) -> Iterator[Outcome]:
    if not size.kills:
        return

    def kill(job: int) -> KillCount:
        drill = KillDrill(
            **{**common, "folder": folder / f"job_{job}", "seed": common["seed"] + job}
        )
        (folder / f"job_{job}").mkdir()
        return drill.run(size.kills // size.jobs)

    with ThreadPoolExecutor(size.jobs) as pool:
        counts = list(pool.map(kill, range(size.jobs)))
    runs = sum(count.runs for count in counts)
    for moment in MOMENTS:
        tries = sum(count.kills[moment] for count in counts)
        lost = sum(count.lost[moment] for count in counts)
        note = f"of {runs} runs, ended with the same bits"
        yield Outcome(f"SIGKILL {moment}", tries, tries - lost, note)
    kills = sum(count.kills.total() for count in counts)
    for name, tries, found in (
        ("end of a run compared", runs, [d for count in counts for d in count.different]),
        ("`last_checkpoint` read after a kill", kills, [b for c in counts for b in c.broken_last]),
        ("a run had to end without a hang", runs, [h for count in counts for h in count.hangs]),
    ):
        note = "; ".join(found[:3]) or "no exception"
        yield Outcome(name, tries, tries - min(tries, len(found)), note)


def _store_rows(folder: Path, size: Size, data: Path) -> Iterator[Outcome]:
    if size.faults != "none":
        tries = 2 if size.faults == "quick" else 20
        yield builders_at_once(folder / "caches", data, tries)
        yield killed_appends(folder / "indices", tries)


def _fault_rows(folder: Path, size: Size, common: dict[str, Any]) -> Iterator[Outcome]:
    drill = FaultDrill(folder=folder, **common)
    if size.faults == "quick":
        yield next(drill.signals())
        yield from drill.second_run()
        yield from drill.damaged_checkpoints()
        yield full_disk(drill, mounts=False)
        yield from read_only_folder(drill)
        yield from quick_bad_images(drill)
        yield from hostile_weights(drill)
        yield from hostile_yaml(drill)
    if size.faults != "all":
        return
    yield from drill.signals()
    yield from drill.second_signal()
    yield from drill.second_run()
    yield from drill.damaged_checkpoints()
    yield full_disk(drill, mounts=True)
    yield full_disk(drill, mounts=False)
    yield from no_inodes(drill)
    yield from read_only_folder(drill)
    yield from bad_images(drill)
    yield from dying_worker(drill)
    yield from hostile_weights(drill)
    yield from hostile_yaml(drill)
    yield from misfits(drill)
    yield from exploding_loss(drill)


def table(rows: list[Outcome]) -> str:
    """Returns the rows as a Markdown table."""
    lines = ["| fault | tries | survived | lost | seen |", "| --- | ---: | ---: | ---: | --- |"]
    lines += [
        f"| {row.fault} | {row.tries} | {row.survived} | {row.tries - row.survived} | {row.note} |"
        for row in rows
    ]
    return "\n".join(lines)
