"""Comparison of results with the values that a configuration promises."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from wrimnet.evaluation.protocols import PROTOCOLS
from wrimnet.evaluation.results import METRIC_NAMES


def check_expected(
    metrics: Mapping[str, Mapping[str, float]], expected: Sequence[Sequence[Any]]
) -> list[str]:
    """Lists the expectations that the results do not meet.

    Args:
        metrics: mean metrics per protocol, as fractions.
        expected: entries [protocol, metric, value, tolerance], as fractions.

    Returns:
        One sentence per result outside its tolerance; empty if all hold.

    Raises:
        ValueError: an entry is malformed, or names a protocol that was not run.
    """
    failures = []
    for entry in expected:
        protocol, metric, value, tolerance = check_entry(entry, metrics)
        found = metrics[protocol][metric]
        off = abs(found - value) - tolerance
        if not off <= 0:
            failures.append(
                f"{protocol} {metric} is {found:.6f}, expected {value:.6f} ± {tolerance:.6f}: "
                f"{'below' if found < value else 'above'} the range by {off:.6f}"
            )
    return failures


def check_entry(entry: Sequence[Any], protocols: Collection[str]) -> tuple[str, str, float, float]:
    """Returns one entry of TEST.EXPECTED_RESULTS, its numbers as floats.

    Args:
        entry: [protocol, metric, value, tolerance], as fractions.
        protocols: names of those that are run.

    Raises:
        ValueError: it is malformed, or names a protocol that is not run.
    """
    form = "[protocol, metric, value, tolerance] with value and tolerance as fractions"
    if not isinstance(entry, (list, tuple)) or len(entry) != 4:
        raise ValueError(f"TEST.EXPECTED_RESULTS entry {entry!r}: expected {form}")
    protocol, metric, value, tolerance = entry
    if not isinstance(protocol, str) or protocol not in PROTOCOLS:
        raise ValueError(f"TEST.EXPECTED_RESULTS names {protocol!r}; choose from {list(PROTOCOLS)}")
    if not isinstance(metric, str) or metric not in METRIC_NAMES:
        raise ValueError(f"TEST.EXPECTED_RESULTS names {metric!r}; choose from {METRIC_NAMES}")
    if protocol not in protocols:
        raise ValueError(
            f"TEST.EXPECTED_RESULTS expects {protocol}, this run has {list(protocols)}; "
            "add it to TEST.PROTOCOLS or remove the expectation"
        )
    if not all(type(number) in (int, float) for number in (value, tolerance)):
        raise ValueError(f"TEST.EXPECTED_RESULTS entry {list(entry)}: expected {form}")
    value, tolerance = float(value), float(tolerance)
    if not (0 <= value <= 1 and 0 <= tolerance <= 1):
        raise ValueError(f"TEST.EXPECTED_RESULTS entry {list(entry)}: expected {form}, in [0, 1]")
    return protocol, metric, value, tolerance
