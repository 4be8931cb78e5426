"""A model and the test set that it is looked at on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import wrimnet.compat  # noqa: F401

import numpy as np
import torch
from fastreid.config import CfgNode

from wrimnet.data.build import build_dataset
from wrimnet.data.images import ImageItem, read_rgb
from wrimnet.evaluation.evaluator import ProtocolRun, build_evaluator
from wrimnet.inference.embedder import Embedder, build_embedder, build_embedder_of
from wrimnet.modeling.weights import build_model
from wrimnet.visualization.ranked_lists import Ranking, choose_rankings

_SHOWN_HEIGHT = 192  # pixels of an image in a figure


@dataclass
class Subject:
    """A trained model, the same network before training, and the dataset's test images."""

    trained: Embedder
    untrained: Embedder  # as training starts it: SEED's initialisation, ImageNet weights if set
    items: Sequence[ImageItem]  # N test images of both modalities
    runs: Sequence[ProtocolRun]
    dataset: str  # for titles, with "synthetic" where the images are generated
    seed: int  # of every draw

    def title(self, what: str, direction: str) -> str:
        """Returns a figure's two title lines: what is shown; model, dataset, direction."""
        facts = self.trained.facts
        return f"{what}\n{facts.name} ({facts.weights}) on {self.dataset}, {direction}"

    @cached_property
    def embeddings(self) -> np.ndarray:
        """(N, D) of the trained model."""
        return self.trained.embed_items(self.items)

    @cached_property
    def embeddings_before(self) -> np.ndarray:
        """(N, D) of the untrained one."""
        return self.untrained.embed_items(self.items)

    @property
    def pids(self) -> np.ndarray:
        """(N,) identities."""
        return np.array([item.pid for item in self.items])

    @property
    def modality(self) -> np.ndarray:
        """(N,) modalities."""
        return np.array([item.modality for item in self.items])

    def rankings(self, run: ProtocolRun, per_kind: int) -> list[Ranking]:
        """Returns queries of each kind with their galleries; see :func:`choose_rankings`."""
        return choose_rankings(self.embeddings, self.items, run, per_kind=per_kind, seed=self.seed)

    def picture(self, row: int) -> np.ndarray:
        """Returns a test image (H, W, 3) uint8, stretched to the shape that the network sees."""
        extraction = self.trained.extraction
        width = round(_SHOWN_HEIGHT * extraction.width / extraction.height)
        return np.asarray(read_rgb(self.items[row].path).resize((width, _SHOWN_HEIGHT)))

    def network_input(self, rows: Sequence[int]) -> torch.Tensor:
        """Returns test images as the network gets them, (B, H, W, 3) uint8 on its device."""
        images = np.stack([self.trained.extraction.read(self.items[row].path) for row in rows])
        return torch.from_numpy(images).to(self.trained.device)


def build_subject(cfg: CfgNode) -> Subject:
    """Builds the subject of a configuration with MODEL.WEIGHTS."""
    dataset = build_dataset(cfg)
    with torch.random.fork_rng():  # initialising draws; whoever called keeps its generators
        torch.manual_seed(cfg.SEED)
        untrained = build_model(cfg)
        trained = build_embedder(cfg)
    return Subject(
        trained=trained,
        untrained=build_embedder_of(cfg, untrained, "untrained"),
        items=dataset.test,
        runs=build_evaluator(cfg, dataset).runs,
        dataset=f"{dataset.name} (synthetic)" if dataset.is_synthetic else dataset.name,
        seed=cfg.SEED,
    )
