"""How much of MIIM's gates a trained network uses: their spread, and the results without parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wrimnet.evaluation.evaluator import Evaluator
from wrimnet.layers.per_modality import PerModality
from wrimnet.modeling.network import CrossModalityNetwork
from wrimnet.visualization.gate_spread import GateSpread, Spread
from wrimnet.visualization.gates import (
    MIIMName,
    blocks_without_gate,
    gated_miims,
    intercepted_gates,
)

AS_TRAINED = "as trained"
PER_IMAGE = "mean over the positions of each image"
PER_POSITION = "mean over all test images at each position"
FIXED = "mean over all test images and positions"
EXCHANGED = "separate MIIMs exchanged between the modalities"


class GateStudy(NamedTuple):
    """A model's gates on a test set.

    Args:
        spreads: of each MIIM.
        metrics: by what the gates were replaced with, then by protocol and metric, in [0, 1].
    """

    spreads: dict[MIIMName, Spread]
    metrics: dict[str, dict[str, Any]]


def study_gates(model: CrossModalityNetwork, evaluator: Evaluator) -> GateStudy:
    """Tests a model as it is, with means for its gates, and with its separate MIIMs exchanged.

    Args:
        model: a WRIMNet in evaluation mode with at least one MIIM that has a gate.
        evaluator: of the test set.

    Raises:
        ValueError: no block of the model has a gate.
    """
    miims = gated_miims(model)
    if not miims:
        without = "; ".join(blocks_without_gate(model)) or "the network has no MIIM"
        raise ValueError(f"there are no gates to study. Without a gate: {without}")
    gathered = {name: GateSpread() for name in miims}

    def gather(name: MIIMName, gates: Tensor) -> Tensor:
        gathered[name].add(gates.float().cpu().numpy())
        return gates

    def per_image(_: MIIMName, gates: Tensor) -> Tensor:
        return gates.mean(dim=(2, 3), keepdim=True)

    def per_position(name: MIIMName, gates: Tensor) -> Tensor:
        return torch.from_numpy(gathered[name].mean_map()).to(gates)[None]

    def fixed(name: MIIMName, gates: Tensor) -> Tensor:
        return per_position(name, gates).mean(dim=(2, 3), keepdim=True)

    changes = {
        AS_TRAINED: gather,
        PER_IMAGE: per_image,
        PER_POSITION: per_position,
        FIXED: fixed,
    }
    metrics: dict[str, dict[str, Any]] = {}
    for words, change in changes.items():
        with intercepted_gates(model, change):
            metrics[words] = evaluator.run(model).metrics
    if any(name.copy != "shared" for name in miims):
        with exchanged_miims(model):
            metrics[EXCHANGED] = evaluator.run(model).metrics
    spreads = {name: spread.spread() for name, spread in gathered.items()}
    return GateStudy(spreads, metrics)


@contextmanager
def exchanged_miims(model: Any) -> Iterator[None]:
    """Within the context, each separate MIIM serves the other modality."""

    def exchange() -> None:
        for miim in model.backbone.miims.values():
            if isinstance(miim, PerModality):
                miim.visible, miim.infrared = miim.infrared, miim.visible

    exchange()
    try:
        yield
    finally:
        exchange()
