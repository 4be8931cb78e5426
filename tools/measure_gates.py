"""Measures what the gates of a trained network's MIIMs vary with, and what they do for its results.

    python tools/measure_gates.py logs/LLCM/wrim

Two tables. The first splits the variance of the gates on the test images into three parts: between
channels, between images, between the positions of an image. The second tests the network as it is,
with each image's gates replaced by their mean over the positions, and with fixed gates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wrimnet.command_line import (
    add_model_options,
    make_parser,
    parse,
    run_tool,
    setup_model_cfg,
)
from wrimnet.tables import MISSING, Table, markdown, metric_table

if TYPE_CHECKING:
    from wrimnet.lab.gate_study import GateStudy


def spread_table(study: GateStudy) -> Table:
    """Writes the variance of each MIIM's gates in its parts."""
    rows = []
    for name, spread in study.spreads.items():
        parts = (spread.channels, spread.images, spread.positions)
        shares = [
            f"{100 * part / spread.variance:.2f}" if spread.variance else MISSING for part in parts
        ]
        deviation = spread.variance**0.5
        rows.append(
            (f"Block {name.block}, {name.copy}", f"{spread.mean:.4f}", f"{deviation:.4f}", *shares)
        )
    header = ("MIIM", "mean", "std", "% between channels", "% images", "% positions")
    return Table("Gates of the MIIMs", header, tuple(rows))


def main() -> int:
    """Runs the command; returns 0."""
    parser = make_parser(__doc__)
    add_model_options(parser)
    cfg = setup_model_cfg(parse(parser))

    from wrimnet.data.build import build_dataset
    from wrimnet.evaluation.evaluator import build_evaluator
    from wrimnet.lab.gate_study import study_gates
    from wrimnet.modeling.weights import build_trained_model, setup_recorded_range
    from wrimnet.visualization.gates import blocks_without_gate

    model = build_trained_model(cfg)
    study = study_gates(model, build_evaluator(setup_recorded_range(cfg), build_dataset(cfg)))
    print(markdown(spread_table(study)))
    for line in blocks_without_gate(model):
        print(f"without a gate: {line}")
    print(markdown(metric_table("Results with other gates", "gates", study.metrics)))
    return 0


if __name__ == "__main__":
    run_tool(main)
