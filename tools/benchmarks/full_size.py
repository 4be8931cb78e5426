"""The paper's recipe at full size: what a step costs on paper, and the roofs of known cards."""

from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from benchmarks.scaling import build_changed, build_counts

GIGA = 1e9


class Card(NamedTuple):
    """Speeds that a card reaches: bf16 matrix products and copies, per second."""

    name: str
    flops: float
    num_bytes: float


CARDS = (Card("RTX3090", 71e12, 936e9), Card("H100", 790e12, 3.0e12))
SIZES = ((384, 144), (256, 144))


def build_full_size(cfg: CfgNode) -> list[dict[str, Any]]:
    """Counts a step of ``cfg`` at the usual input sizes, in bf16 and fp32.

    Args:
        cfg: of the model and batch, on the CPU; MODEL.HEADS.NUM_CLASSES is set.

    Returns:
        Per input size and precision: "input", "precision", "gflop" and "gigabytes" per image,
        "activations" and "state", gigabytes of a batch, and for bf16 the images per second of each
        card's eager roof by its name.
    """
    rows = []
    for size in SIZES:
        for bf16 in (True, False):
            counts = build_counts(build_changed(cfg, size=size), bf16=bf16)
            row = _row(counts, cfg.SOLVER.IMS_PER_BATCH, bf16)
            rows.append({"input": f"{size[0]} x {size[1]}", **row})
    return rows


def _row(counts: dict[str, Any], images: int, bf16: bool) -> dict[str, Any]:
    cost = counts["cost"]
    roofs = {card.name: images / cost.roof_seconds(card.flops, card.num_bytes) for card in CARDS}
    return {
        "precision": "bf16" if bf16 else "fp32",
        "gflop": cost.flops / images / GIGA,
        "gigabytes": cost.num_bytes / images / GIGA,
        "activations": counts["activation_bytes"] / GIGA,
        "state": counts["state_bytes"] / GIGA,
        **(roofs if bf16 else {}),
    }


def full_size_table(rows: list[dict[str, Any]]) -> str:
    """A row per input size and precision."""
    cards = "".join(f" {card.name} roof, img/s |" for card in CARDS)
    lines = [
        "| input | precision | GFLOP / image | GB / image | activations GB | "
        f"weights, gradients, moments GB |{cards}",
        "|---|---|" + "---:|" * (4 + len(CARDS)),
    ]
    for row in rows:
        roofs = "".join(f" {row[c.name]:,.0f} |" if c.name in row else " - |" for c in CARDS)
        lines.append(
            f"| {row['input']} | {row['precision']} | {row['gflop']:.1f} | "
            f"{row['gigabytes']:.3f} | {row['activations']:.2f} | {row['state']:.2f} |{roofs}"
        )
    return "\n".join(lines)
