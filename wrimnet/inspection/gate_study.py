"""How much of MIIM's gates a trained network uses: their spread, and the results without parts."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wrimnet.analysis.gate_spread import GateSpread, Spread
from wrimnet.evaluation.evaluator import Evaluator
from wrimnet.inspection.gates import MIIMName, intercepted_gates, named_miims

AS_TRAINED = "as trained"
PER_IMAGE = "mean over the positions of each image"
FIXED = "mean over all test images and positions"


class GateStudy(NamedTuple):
    """A model's gates on a test set.

    Args:
        spreads: of each MIIM.
        metrics: by what the gates were replaced with, then by protocol and metric, in [0, 1].
    """

    spreads: dict[MIIMName, Spread]
    metrics: dict[str, dict[str, Any]]


def study_gates(model: nn.Module, evaluator: Evaluator) -> GateStudy:
    """Tests a model as it is, with gates without places, and with gates that no image changes.

    Args:
        model: a WRIMNet in evaluation mode with at least one MIIM.
        evaluator: of the test set.

    Raises:
        ValueError: the model has no MIIM.
    """
    miims = named_miims(model)
    if not miims:
        raise ValueError("the network has no MIIM, so there are no gates to study")
    gathered = {name: GateSpread() for name in miims}

    def gather(name: MIIMName, gates: Tensor) -> Tensor:
        gathered[name].add(gates.float().cpu().numpy())
        return gates

    def per_image(_: MIIMName, gates: Tensor) -> Tensor:
        return gates.mean(dim=(2, 3), keepdim=True)

    def fixed(name: MIIMName, gates: Tensor) -> Tensor:
        means = torch.from_numpy(gathered[name].channel_means()).to(gates)
        return means[None, :, None, None]

    metrics = {}
    for words, change in ((AS_TRAINED, gather), (PER_IMAGE, per_image), (FIXED, fixed)):
        with intercepted_gates(model, change):
            metrics[words] = evaluator.run(model).metrics
    spreads = {name: spread.spread() for name, spread in gathered.items()}
    return GateStudy(spreads, metrics)
