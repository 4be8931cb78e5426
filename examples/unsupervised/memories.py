"""Cluster contrast: the loss of features against a memory of clusters, and how the memory moves.

Dai et al., Cluster Contrast for Unsupervised Person Re-Identification, ACCV 2022.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wrimnet.modality import INFRARED, VISIBLE


def cluster_contrast(
    features: Tensor, labels: Tensor, memory: Tensor, *, temperature: float
) -> Tensor:
    """Returns the mean cross entropy of features against a memory.

        L = mean_i -log( exp(f_i . m_y / t) / sum_c exp(f_i . m_c / t) )

    Args:
        features: f (B, D), L2-normalized.
        labels: y (B,), rows of the memory.
        memory: m (C, D), L2-normalized rows; gets no gradient.
        temperature: t.

    Returns:
        L, a scalar.
    """
    return F.cross_entropy(features @ memory.detach().T / temperature, labels)


def moved_memory(
    memory: Tensor, features: Tensor, labels: Tensor, *, momentum: float, hardest: bool
) -> Tensor:
    """Returns the memory (C, D) after a batch of unit features (B, D) with rows ``labels`` (B,).

    Each image in turn makes m_y = unit(momentum m_y + (1 - momentum) f). With ``hardest`` only the
    image of each cluster that is least similar to m_y does.
    """
    memory = memory.clone()
    for chosen in _rounds(memory, features, labels, hardest):
        rows = labels[chosen]
        memory[rows] = F.normalize(
            momentum * memory[rows] + (1 - momentum) * features[chosen], dim=1
        )
    return memory


def _rounds(memory: Tensor, features: Tensor, labels: Tensor, hardest: bool) -> list[Tensor]:
    """Images in the order in which they move the memory; those of a round are of other clusters."""
    order = torch.arange(len(labels), device=labels.device)
    if hardest:
        order = (features * memory[labels]).sum(1).argsort(stable=True)
    same = labels[order] == labels[order][:, None]
    turn = same.tril(-1).sum(1)  # images of the same cluster before this one
    last = 0 if hardest else int(turn.max())
    return [order[turn == number] for number in range(last + 1)]


class Memories:
    """The memories of both modalities, the matches of their clusters, and the current direction.

    Attributes:
        rows: by modality, (C, D).
        matches: by modality, for each of its clusters that of the other modality, (C,).
        crossing: the modality whose features are compared with the other's memory in this epoch.
    """

    def __init__(self) -> None:
        self.rows: dict[int, Tensor] = {}
        self.matches: dict[int, Tensor] = {}
        self.crossing = INFRARED
        self._seen: list[tuple[int, Tensor, Tensor]] = []

    def within(self, modality: int, features: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Returns the contrast of a modality's features; keeps them for :meth:`move`."""
        self._seen.append((modality, features.detach(), labels))
        return cluster_contrast(features, labels, self.rows[modality], temperature=temperature)

    def across(self, features: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Returns the contrast of the crossing modality's features with the other's memory."""
        matched, memory = self.matches[self.crossing][labels], self.rows[other(self.crossing)]
        return cluster_contrast(features, matched, memory, temperature=temperature)

    def move(self, *, momentum: float, hardest: bool) -> None:
        """Moves each memory by the features of its own modality, after the backward pass."""
        for modality, features, labels in self._seen:
            self.rows[modality] = moved_memory(
                self.rows[modality], features, labels, momentum=momentum, hardest=hardest
            )
        self._seen.clear()

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run needs."""
        return {"rows": self.rows, "matches": self.matches, "crossing": self.crossing}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Takes over what :meth:`state_dict` returned."""
        self.rows, self.matches = (
            {modality: tensor.to(device) for modality, tensor in state[name].items()}
            for name in ("rows", "matches")
        )
        self.crossing = state["crossing"]


def other(modality: int) -> int:
    """Returns the other modality."""
    return VISIBLE + INFRARED - modality
