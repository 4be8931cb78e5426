"""SIGKILL at random moments, while a file is written and while the model is evaluated."""

import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fault_drill.comparison import differences, unreadable_last
from fault_drill.runs import POLL_SECONDS, Run, Starter

from wrimnet.run_folder import LOG

MOMENTS = ("at a random moment", "while a file is written", "while evaluating")
KILLS_PER_RUN = 6


@dataclass
class KillCount:
    """What came of the kills.

    Attributes:
        kills: number per moment.
        runs: runs that were killed, resumed and brought to their end.
        different: differences to the uninterrupted run, of all runs.
        broken_last: unreadable files that ``last_checkpoint`` named after a kill.
        hangs: runs that did not end, or ended with an error.
        lost: number of kills per moment whose run did not end as the uninterrupted one.
    """

    kills: Counter = field(default_factory=Counter)
    runs: int = 0
    different: list[str] = field(default_factory=list)
    broken_last: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    lost: Counter = field(default_factory=Counter)


class KillDrill:
    """Kills runs and resumes them until they end.

    Args:
        starter: starts the runs.
        folder: gets their output.
        reference: output of the uninterrupted run.
        duration: seconds that the uninterrupted run took.
        seed: of the moments.
    """

    def __init__(
        self, *, starter: Starter, folder: Path, reference: Path, duration: float, seed: int
    ) -> None:
        self._starter, self._folder = starter, folder
        self._reference, self._duration = reference, duration
        self._random = random.Random(seed)
        self.count = KillCount()

    def run(self, kills: int) -> KillCount:
        """Goes on until ``kills`` kills have hit."""
        while self.count.kills.total() < kills:
            output = self._folder / f"killed_{self.count.runs:03d}"
            wanted = min(KILLS_PER_RUN, kills - self.count.kills.total())
            self._judge(output, self._kill_often(output, wanted))
            shutil.rmtree(output, ignore_errors=True)
        return self.count

    def _kill_often(self, output: Path, wanted: int) -> Counter:
        """Kills a run up to ``wanted`` times; returns the moments that hit."""
        hits: Counter = Counter()
        while hits.total() < wanted:
            moment = MOMENTS[self.count.kills.total() % len(MOMENTS)]
            run = self._starter.start(output)
            self._await(run, output, moment)
            if not run.running:
                self._duration *= 0.8  # the machine has become quicker than the reference was
                break
            run.kill()
            hits[moment] += 1
            self.count.kills[moment] += 1
            broken = unreadable_last(output)
            self.count.broken_last += [broken] if broken else []
        return hits

    def _judge(self, output: Path, hits: Counter) -> None:
        code, text = self._starter.finish(output)
        self.count.runs += 1
        problems = [f"exit code {code}: {text[-300:]}"] if code else []
        self.count.hangs += problems
        if not problems:
            problems = differences(self._reference, output)
            self.count.different += [f"{output.name}: {problem}" for problem in problems]
        if problems:
            self.count.lost += hits

    def _await(self, run: Run, output: Path, moment: str) -> None:
        """Waits for the moment of the kill, or for the end of the run."""
        if moment == MOMENTS[0]:
            deadline = time.monotonic() + self._random.uniform(0, self._duration)
            while run.running and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            return
        chances = 3 if moment == MOMENTS[1] else 2  # a run has two evaluations
        skipped = self._random.randrange(chances)
        has_come = _is_writing if moment == MOMENTS[1] else _is_evaluating
        was_there = False
        while run.running:
            is_there = has_come(run, output)
            if is_there and not was_there:
                skipped -= 1
            if is_there and skipped < 0:
                time.sleep(self._random.uniform(0, 0.1))
                return
            was_there = is_there
            time.sleep(POLL_SECONDS)


def _is_writing(run: Run, output: Path) -> bool:
    del run
    return any(output.glob(".*.tmp"))


def _is_evaluating(run: Run, output: Path) -> bool:
    del run
    log = output / LOG  # the console does not tell of an evaluation's end
    text = log.read_text() if log.exists() else ""
    return text.count("evaluating after") > text.count("evaluation after")
