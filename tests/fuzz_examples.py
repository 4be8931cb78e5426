"""How many random inputs each fuzz test sees: few by default, WRIM_FUZZ times as many if set."""

import os

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("WRIM_FUZZ", "1"))


def examples(count):
    return settings(
        max_examples=count * FACTOR,
        deadline=None,
        derandomize=FACTOR == 1,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
