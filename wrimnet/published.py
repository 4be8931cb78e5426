"""Published numbers to stand beside this code's, in percent as printed."""

from collections.abc import Mapping
from typing import NamedTuple

from wrimnet.metrics.names import COMPARED
from wrimnet.tables import MISSING


class Published(NamedTuple):
    """Numbers that somebody published."""

    source: str
    dataset: str  # of the results that they are shown beside; "" for any
    numbers: Mapping[str, str]  # by row, such as "54.83/61.27" for Rank-1/mAP

    def values(self, label: str) -> dict[str, float]:
        """The numbers of a row by metric, without those that were not published."""
        texts = dict(zip(COMPARED, self.numbers.get(label, "").split("/"), strict=False))
        return {metric: float(text) for metric, text in texts.items() if text not in ("", MISSING)}


# Tables S1 to S4 of the paper's supplement.
PAPER = Published(
    "paper, LLCM, direction as printed",  # none is printed
    "",
    {
        "no MIIM": "54.83/61.27",
        "Block 1": "56.68/62.83",
        "Block 2": "57.34/63.53",
        "Block 3": "55.26/61.98",
        "Block 4": "55.03/61.76",
        "Blocks 1+2": "57.82/64.03",
        "Blocks 3+4": "56.16/62.72",
        "all shared": "57.63/64.15",
        "all separate": "57.12/63.53",
        "multiply, no sigmoid": "56.08/62.98",
        "add": "56.74/63.55",
        "no auxiliary information": "57.32/63.43",
        "WRIM-Net": "58.38/64.75",
    },
)
