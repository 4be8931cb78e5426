"""Faults of files, signals and numbers; each is tried on a run that stands half-way."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from fault_drill.comparison import differences, unreadable_last
from fault_drill.runs import POLL_SECONDS, Starter

from wrimnet.engine.signals import EXIT_CODE
from wrimnet.run_folder import LAST


class Outcome(NamedTuple):
    """A row of the table.

    Attributes:
        fault: what was done.
        tries: how often.
        survived: how often it was named and nothing was lost.
        note: what was seen, or what went wrong.
    """

    fault: str
    tries: int
    survived: int
    note: str


class FaultDrill:
    """Tries faults of training.

    Args:
        starter: starts the runs.
        folder: gets their output.
        reference: output of the uninterrupted run.
    """

    def __init__(self, *, starter: Starter, folder: Path, reference: Path) -> None:
        self.starter, self.folder, self.reference = starter, folder, reference
        self._half: Path | None = None

    def half_way(self, name: str) -> Path:
        """Returns a folder with a run that was stopped with two checkpoints written."""
        if self._half is None:
            self._half = self.folder / "half"
            run = self.starter.start(self._half)
            while run.running and not (self._half / "checkpoint_00000004.pth").exists():
                time.sleep(POLL_SECONDS)
            run.send(signal.SIGTERM)
            code = run.wait()
            assert code == EXIT_CODE, f"exit code {code}: {run.text()[-2000:]}"
        output = self.folder / name
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(self._half, output)
        return output

    def ends_as_reference(self, output: Path, **options: object) -> list[str]:
        """Resumes the run in ``output``; returns what is different in the end."""
        code, text = self.starter.finish(output, **options)
        if code:
            return [f"exit code {code}: {text[-400:]}"]
        return differences(self.reference, output)

    def signals(self) -> Iterator[Outcome]:
        """SIGTERM and SIGINT in training: saved, exit code 75, resumed to the same end."""
        return (self._signal(number) for number in (signal.SIGTERM, signal.SIGINT))

    def _signal(self, number: signal.Signals) -> Outcome:
        output = self.folder / number.name
        run = self.starter.start(output)
        while run.running and "evaluating after" not in run.text():
            time.sleep(POLL_SECONDS)
        run.send(number)
        code = run.wait()
        problems = [] if code == EXIT_CODE else [f"exit code {code}, expected {EXIT_CODE}"]
        broken = unreadable_last(output)
        problems += [broken] if broken else []
        problems += [] if (output / LAST).exists() else ["nothing was saved"]
        self._half = self._half or output
        resumed = self.half_way(f"resumed_{number.name}") if self._half == output else output
        problems += self.ends_as_reference(resumed)
        shutil.rmtree(resumed)
        return judged(f"{number.name} while evaluating", problems, f"exit code {code}")

    def second_signal(self) -> list[Outcome]:
        """SIGTERM twice: ends at once; goes on from the checkpoint before."""
        output = self.folder / "twice"
        run = self.starter.start(output)
        while run.running and "evaluating after" not in run.text():
            time.sleep(POLL_SECONDS)
        run.send(signal.SIGTERM)
        while run.running and "a second signal" not in run.text():
            time.sleep(POLL_SECONDS)
        begin = time.monotonic()
        run.send(signal.SIGTERM)
        code = run.wait()
        seconds = time.monotonic() - begin
        problems = [] if code == -signal.SIGTERM else [f"exit code {code}, expected the signal"]
        problems += self.ends_as_reference(output)
        shutil.rmtree(output)
        return [judged("SIGTERM twice", problems, f"ended within {seconds:.1f} s")]

    def second_run(self) -> list[Outcome]:
        """Another run in the folder of one at work is refused; the first ends as if alone."""
        output, problems = self.folder / "shared", []
        run = self.starter.start(output)
        while run.running and not list(output.glob("checkpoint_*.pth")):
            time.sleep(POLL_SECONDS)
        aside = self.starter.start(output, text_name="shared_too")
        code = aside.wait()
        if code != 2 or "another process is writing to" not in aside.text():
            problems.append(f"the second run: exit code {code}: {aside.text()[-300:]}")
        code = run.wait()
        problems += [f"exit code {code}: {run.text()[-300:]}"] if code else []
        problems = problems or differences(self.reference, output)
        shutil.rmtree(output)
        return [judged("second run in the folder", problems, "refused, the first undisturbed")]

    def damaged_checkpoints(self) -> list[Outcome]:
        """The newest checkpoint cut short, emptied, or with one bit changed."""
        damages = {"cut short": _cut, "empty": _empty, "one bit changed": _flip_bit}
        return [self._damaged(name, damage) for name, damage in damages.items()]

    def _damaged(self, name: str, damage: Callable[[Path], None]) -> Outcome:
        output = self.half_way("damaged")
        newest = output / (output / LAST).read_text()
        damage(newest)
        code, text = self.starter.finish(output)
        named = "this checkpoint is not used" in text and newest.name in text
        problems = [] if named else ["the damaged file was not named"]
        problems += [f"exit code {code}: {text[-400:]}"] if code else []
        problems = problems or differences(self.reference, output)
        return judged(f"newest checkpoint {name}", problems, "named, the one before it used")


def judged(fault: str, problems: list[str], note: str) -> Outcome:
    """Makes the row of one try."""
    return Outcome(fault, 1, int(not problems), "; ".join(problems[:3]) or note)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _flip_bit(path: Path) -> None:
    middle = path.stat().st_size // 2
    with path.open("r+b") as file:
        file.seek(middle)
        byte = file.read(1)[0]
        file.seek(middle)
        file.write(bytes([byte ^ 1]))
