"""How much of MIIM's gates a trained network uses: their spread, and the results without parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wrimnet.evaluation.evaluator import Evaluator
from wrimnet.layers.per_modality import PerModality
from wrimnet.visualization.gates import (
    MIIMName,
    blocks_without_gate,
    gated_miims,
    intercepted_gates,
)


class Spread(NamedTuple):
    """Mean and variance of gates g(n, c, p) over images n, channels c and positions p.

    The three parts add up to the variance (law of total variance):

        channels   Var_c( E_np g )             as a fixed weight of each channel would have it
        images     E_c  Var_n( E_p g | c )     a weight of each channel, chosen for each image
        positions  E_nc Var_p( g | n, c )      a map: the only part that tells places apart
    """

    mean: float
    channels: float
    images: float
    positions: float

    @property
    def variance(self) -> float:
        """Over everything."""
        return self.channels + self.images + self.positions


class GateSpread:
    """Gathers gates batch by batch, in float64."""

    def __init__(self) -> None:
        self.num_images = 0
        self._maps = np.zeros(())  # (C, h, w) in the end
        self._squared_means = self._squares = np.zeros(())  # each (C,) in the end

    def add(self, gates: np.ndarray) -> None:
        """Takes the gates of some images, (B, C, h, w), every time with the same C."""
        wide = gates.astype(np.float64)
        means = wide.mean(axis=(2, 3))  # (B, C)
        self.num_images += len(means)
        self._maps = self._maps + wide.sum(axis=0)
        self._squared_means = self._squared_means + (means**2).sum(axis=0)
        self._squares = self._squares + (wide**2).mean(axis=(2, 3)).sum(axis=0)

    def mean_map(self) -> np.ndarray:
        """Returns the mean over the images, (C, h, w).

        Raises:
            ValueError: no gates were added.
        """
        if not self.num_images:
            raise ValueError("no gates were added; what is their mean?")
        return self._maps / self.num_images

    def channel_means(self) -> np.ndarray:
        """Returns each channel's mean over images and positions, (C,)."""
        return self.mean_map().mean(axis=(1, 2))

    def spread(self) -> Spread:
        """Returns mean and variance in its three parts.

        Raises:
            ValueError: no gates were added.
        """
        means = self.channel_means()
        squared_means = self._squared_means / self.num_images
        return Spread(
            mean=float(means.mean()),
            channels=float(means.var()),
            images=float((squared_means - means**2).mean()),
            positions=float((self._squares / self.num_images - squared_means).mean()),
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


def study_gates(model: nn.Module, evaluator: Evaluator) -> GateStudy:
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
    metrics = {}
    for words, change in changes.items():
        with intercepted_gates(model, change):
            metrics[words] = evaluator.run(model).metrics
    if any(name.copy != "shared" for name in miims):
        with exchanged_miims(model):
            metrics[EXCHANGED] = evaluator.run(model).metrics
    spreads = {name: spread.spread() for name, spread in gathered.items()}
    return GateStudy(spreads, metrics)


@contextmanager
def exchanged_miims(model: nn.Module) -> Iterator[None]:
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
