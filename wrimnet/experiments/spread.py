"""Mean and spread over seeds, and whether a difference between two rows shows."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Summary(NamedTuple):
    """Several runs' values of one metric.

    Args:
        values: one per run, in percent.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        """Sample standard deviation (divisor n - 1); None for one run."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


class Difference(NamedTuple):
    """A row minus WRIM-Net.

    Args:
        value: difference of the means, in percentage points.
        spread: sqrt(s_row^2 + s_full^2), the deviation of the difference of two single runs; None
            where either has one run.
    """

    value: float
    spread: float | None

    @property
    def shown(self) -> bool:
        """Whether the difference is larger than its spread."""
        return self.spread is not None and abs(self.value) > self.spread

    def verdict(self, printed: float | None) -> str:
        """Compares the sign with the paper's.

        Args:
            printed: the paper's difference, None where it prints none.

        Returns:
            "not shown", "same sign", "other sign", "lower" or "higher".
        """
        if not self.shown:
            return "not shown"
        if not printed:
            return "lower" if self.value < 0 else "higher"
        return (
            "same sign"
            if math.copysign(1, self.value) == math.copysign(1, printed)
            else ("other sign")
        )


def difference(row: Summary, full: Summary) -> Difference:
    """Returns ``row`` minus ``full``."""
    spread = None
    if row.std is not None and full.std is not None:
        spread = math.hypot(row.std, full.std)
    return Difference(row.mean - full.mean, spread)


def summarise(values: Sequence[float]) -> Summary | None:
    """Returns the summary of some values, None for none."""
    return Summary(tuple(values)) if values else None
