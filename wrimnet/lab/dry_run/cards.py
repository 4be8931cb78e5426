"""What graphics cards can do: memory, and the peaks that a step cannot go beyond."""

from collections.abc import Sequence
from typing import NamedTuple


class Card(NamedTuple):
    """A card's limits; dense products with float32 accumulation."""

    memory: float  # GB
    bf16: float  # TFLOP/s
    tf32: float  # TFLOP/s
    bandwidth: float  # GB/s


# By data sheet, but the H100 and H200: what large products and copies reach there.
CARDS = {
    "rtx3090": Card(24, 71, 35.6, 936),
    "rtx4090": Card(24, 165, 82.6, 1008),
    "rtx5090": Card(32, 209, 105, 1792),
    "l4": Card(24, 121, 60, 300),
    "l40s": Card(48, 362, 183, 864),
    "a100-40": Card(40, 312, 156, 1555),
    "a100": Card(80, 312, 156, 2039),
    "h100": Card(80, 790, 395, 3000),
    "h200": Card(141, 790, 395, 4300),
}
RESERVED_GB = 2.0  # an allowance for context, libraries' work space, fragmentation; not counted


def find_cards(entries: Sequence[str]) -> dict[str, Card]:
    """Returns cards by name; ``NAME=GB,BF16,TF32,GB/s`` is a custom entry.

    Raises:
        ValueError: an unknown name, or an entry of another form.
    """
    return dict(_card(entry) for entry in entries)


def _card(entry: str) -> tuple[str, Card]:
    name, _, numbers = entry.partition("=")
    if not numbers and name.lower() in CARDS:
        return name.lower(), CARDS[name.lower()]
    try:
        memory, bf16, tf32, bandwidth = (float(number) for number in numbers.split(","))
    except ValueError:
        raise ValueError(
            f"--gpu {entry}: expected one of {', '.join(CARDS)}, or NAME=MEMORY,BF16,TF32,"
            "BANDWIDTH in GB, TFLOP/s, TFLOP/s and GB/s, as in mine=16,40,20,448"
        ) from None
    return name, Card(memory, bf16, tf32, bandwidth)
