"""The metrics by name: which are always computed, and which a table shows.

A custom metric is a function of one query's ranked gallery; it gets its name when it is
registered (:data:`wrimnet.registries.METRIC_REGISTRY`).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

# ``matches`` (G,) bool: whether each image of one query's gallery, nearest first and without those
# that the camera rule removes, has the query's identity; ``num_relevant``: how many have it, at
# least 1. Returns a share in [0, 1].
Metric = Callable[[np.ndarray, int], float]

CMC_LENGTH = 20
PRINTED = ("Rank-1", "Rank-5", "Rank-10", "Rank-20", "mAP", "mINP")  # default of TEST.METRICS
COMPARED = ("Rank-1", "mAP")  # in every table that compares runs, before registered metrics
ALWAYS = ("cmc", "mAP", "mINP")  # what the numbers of every trial hold


def rank_of(name: str) -> int | None:
    """Returns k of "Rank-k", None for another name or a rank beyond the curve."""
    match = re.fullmatch(r"Rank-([1-9]\d?)", name)
    return int(match[1]) if match and int(match[1]) <= CMC_LENGTH else None


def is_computed_always(name: str) -> bool:
    """Whether a metric needs no registered function."""
    return name in ("mAP", "mINP") or rank_of(name) is not None


def is_compared(name: str) -> bool:
    """Whether a metric belongs to tables that compare runs."""
    return name in COMPARED or not is_computed_always(name)


def compared_metrics(numbers: Mapping[str, Any]) -> tuple[str, ...]:
    """Names what tables that compare runs show of a result's numbers."""
    return (*COMPARED, *(name for name in numbers if name not in ALWAYS))


def named_values(numbers: Mapping[str, Any], names: Iterable[str]) -> dict[str, float]:
    """Returns the metrics of these names from numbers that hold cmc (20 values), mAP, mINP, ..."""
    return {name: metric_value(numbers, name) for name in names}


def metric_value(numbers: Mapping[str, Any], name: str) -> float:
    """Returns one metric of a result's numbers, as a fraction."""
    rank = rank_of(name)
    return numbers[name] if rank is None else numbers["cmc"][rank - 1]
