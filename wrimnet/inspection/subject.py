"""A model and the test set that it is looked at on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import wrimnet.compat  # noqa: F401

import numpy as np
import torch
from fastreid.config import CfgNode

from wrimnet.data.build import build_dataset
from wrimnet.data.images import read_rgb
from wrimnet.data.items import ImageItem
from wrimnet.engine.random_state import random_state, restore_random_state, seed_everything
from wrimnet.engine.trainer import WRIMTrainer
from wrimnet.evaluation.build import build_evaluator
from wrimnet.evaluation.evaluator import ProtocolRun
from wrimnet.interface.embedder import Embedder
from wrimnet.interface.loading import build_embedder, build_embedder_of
from wrimnet.modality import INFRARED, VISIBLE

_SHOWN_HEIGHT = 192  # pixels of an image in a figure


@dataclass
class Subject:
    """A trained model, the same network before training, and the dataset's test images.

    Attributes:
        trained: with the weights.
        untrained: as training starts it: SEED's initialisation, ImageNet weights if configured.
        items: N test images of both modalities.
        runs: the protocols with their trials.
        dataset: name for titles, with "synthetic" where the images are generated.
        seed: of every draw.
    """

    trained: Embedder
    untrained: Embedder
    items: Sequence[ImageItem]
    runs: Sequence[ProtocolRun]
    dataset: str
    seed: int

    def title(self, what: str, direction: str) -> str:
        """Returns a figure's two title lines: what is shown; model, dataset, direction."""
        facts = self.trained.facts
        return f"{what}\n{facts.name} ({facts.weights}) on {self.dataset}, {direction}"

    @cached_property
    def embeddings(self) -> np.ndarray:
        """(N, D) of the trained model."""
        return embed_items(self.trained, self.items)

    @cached_property
    def embeddings_before(self) -> np.ndarray:
        """(N, D) of the untrained one."""
        return embed_items(self.untrained, self.items)

    @property
    def pids(self) -> np.ndarray:
        """(N,) identities."""
        return np.array([item.pid for item in self.items])

    @property
    def modality(self) -> np.ndarray:
        """(N,) modalities."""
        return np.array([item.modality for item in self.items])

    def picture(self, row: int) -> np.ndarray:
        """Returns a test image (H, W, 3) uint8, stretched to the shape that the network sees."""
        reader = self.trained.reader
        width = round(_SHOWN_HEIGHT * reader.width / reader.height)
        return np.asarray(read_rgb(self.items[row].path).resize((width, _SHOWN_HEIGHT)))

    def network_input(self, rows: Sequence[int]) -> torch.Tensor:
        """Returns test images as the network gets them, (B, H, W, 3) uint8 on its device."""
        images = np.stack([self.trained.reader(self.items[row].path) for row in rows])
        return torch.from_numpy(images).to(self.trained.device)


def build_subject(cfg: CfgNode) -> Subject:
    """Builds the subject of a configuration with MODEL.WEIGHTS."""
    dataset = build_dataset(cfg)
    with _kept_random_state():
        seed_everything(cfg.SEED)
        untrained = WRIMTrainer.build_model(cfg)
        trained = build_embedder(cfg)
    return Subject(
        trained=trained,
        untrained=build_embedder_of(cfg, untrained, "untrained"),
        items=dataset.test,
        runs=build_evaluator(cfg, dataset).runs,
        dataset=f"{dataset.name} (synthetic)" if dataset.is_synthetic else dataset.name,
        seed=cfg.SEED,
    )


def embed_items(embedder: Embedder, items: Sequence[ImageItem]) -> np.ndarray:
    """Embeds images of both modalities, (N, D), rows in their order."""
    embeddings = np.empty((len(items), embedder.dim), dtype=np.float32)
    for modality in (VISIBLE, INFRARED):
        rows = [row for row, item in enumerate(items) if item.modality == modality]
        if rows:
            embeddings[rows] = embedder.embed([items[row].path for row in rows], modality)
    return embeddings


@contextmanager
def _kept_random_state() -> Iterator[None]:
    """Initialising a network draws from the global generators; whoever called keeps theirs."""
    state = random_state()
    try:
        yield
    finally:
        restore_random_state(state)
