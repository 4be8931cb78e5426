"""Custom metrics: each query's ranked gallery, handed to a function of it."""

from collections.abc import Mapping
from numbers import Real

import numpy as np

from wrimnet.metrics.names import Metric


def score_registered(
    metrics: Mapping[str, Metric], ranks: np.ndarray, gallery_sizes: np.ndarray
) -> np.ndarray:
    """Computes metrics of every query, one query at a time.

    Args:
        metrics: by name.
        ranks: (Q, M) int, 1-based ranks of each query's matches in any order, beyond its gallery's
            size where a query has fewer.
        gallery_sizes: (Q,), images that the camera rule leaves.

    Returns:
        (Q, L) float64, in the order of the metrics; 0 for a query without a match.

    Raises:
        ValueError: a metric gives no number in [0, 1]; names it.
    """
    values = np.zeros((len(ranks), len(metrics)))
    for query, (positions, size) in enumerate(zip(ranks, gallery_sizes.tolist(), strict=True)):
        matches = np.zeros(size, bool)
        matches[positions[positions <= size] - 1] = True
        matches.setflags(write=False)
        num_relevant = int(matches.sum())
        if num_relevant:
            row = [_checked(name, of(matches, num_relevant)) for name, of in metrics.items()]
            values[query] = row
    return values


def _checked(name: str, value: float) -> float:
    if not isinstance(value, Real | np.bool_) or not 0 <= value <= 1:  # NaN is refused as well
        raise ValueError(
            f"the metric {name} gives {value!r}; expected a number in [0, 1], which tables show in "
            "percent: divide by its largest value"
        )
    return float(value)
