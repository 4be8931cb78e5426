"""The hook: pseudo labels, memories and matches at the start of each epoch, saved with the run."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import wrimnet.compat  # noqa: F401

import numpy as np
import torch
from fastreid.config import CfgNode
from torch import Tensor

from examples.unsupervised.clustering import cluster_images, cluster_means
from examples.unsupervised.epoch_values import epoch_values, in_words
from examples.unsupervised.matching import match_clusters
from examples.unsupervised.memories import Memories
from wrimnet.config import get_key
from wrimnet.engine.distributed import read_place
from wrimnet.engine.hooks import Hook
from wrimnet.evaluation.extraction import build_extraction, join_arrays
from wrimnet.modality import INFRARED, MODALITY_NAMES, VISIBLE
from wrimnet.registries import HOOK_REGISTRY
from wrimnet.tables import counted

_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console
_PARTS = {
    "MODEL.HEADS.NAME": "ClusterHead",
    "DATALOADER.SAMPLER_TRAIN": "clusters",
    "INPUT.AUGMENTATION": "build_two_views",
}


@HOOK_REGISTRY.register()
class ProgressiveGraphMatching(Hook):
    """Clusters the training images of each modality and matches the clusters, every epoch."""

    def __init__(self, cfg: CfgNode) -> None:
        keys = cfg.UNSUPERVISED
        self.extract = replace(build_extraction(cfg), flip=False)
        self.clustering = {name: keys[name.upper()] for name in ("k1", "k2", "eps", "min_samples")}
        self.moving = {"momentum": keys.MOMENTUM, "hardest": keys.HARDEST}
        self.memories = Memories()
        self.labels = np.empty(0, np.int64)
        self.values: dict[str, float] = {}

    @staticmethod
    def check_config(cfg: CfgNode) -> None:
        """Raises ValueError for parts that do not belong to it, or for several processes."""
        for key, name in _PARTS.items():
            if (value := get_key(cfg, key)) != name:
                raise ValueError(
                    f"{key} = {value!r}: the hook ProgressiveGraphMatching needs {name}"
                )
        num_clusters = cfg.SOLVER.IMS_PER_BATCH // (2 * cfg.DATALOADER.NUM_INSTANCE)
        if num_clusters % 2:
            raise ValueError(
                f"SOLVER.IMS_PER_BATCH = {cfg.SOLVER.IMS_PER_BATCH} is of P = {num_clusters} "
                "clusters per modality; half of the visible ones are trained on: choose an even P, "
                "IMS_PER_BATCH = 2 x P x DATALOADER.NUM_INSTANCE"
            )
        if (num_processes := read_place().world_size) > 1:
            raise ValueError(
                f"{num_processes} processes: ProgressiveGraphMatching runs in one; start it "
                "without torchrun"
            )

    def before_train(self) -> None:
        """Hands the memories to the head, whose output brings them to the loss terms."""
        self.trainer.model.heads.memories = self.memories

    def before_epoch(self) -> None:
        """Makes pseudo labels, memories and matches of the weights as they are."""
        self.trainer.progress.stop_clock()
        loader = self.trainer.data_loader
        modality, embeddings = loader.dataset.modality, self._embed()
        labels = np.full(len(modality), -1, np.int64)
        for kind in (VISIBLE, INFRARED):
            rows = modality == kind
            features = embeddings[torch.from_numpy(rows).to(embeddings.device)]
            labels[rows] = cluster_images(features, **self.clustering)
        check_clusters(
            labels,
            modality,
            least=loader.sampler.num_pids,
            when=f"epoch {self.trainer.epoch + 1}",
            eps=self.clustering["eps"],
        )
        self._remember(embeddings, labels, modality)
        loader.relabel(labels)
        self.labels = labels
        self.values = epoch_values(labels, modality, loader.dataset.pids, self.memories.matches)
        _console.info("clusters before epoch %d: %s", self.trainer.epoch + 1, in_words(self.values))
        self.trainer.progress.start_clock()

    def _embed(self) -> Tensor:
        """Embeds all training images, (N, D) on the model's device."""
        dataset, model = self.trainer.data_loader.dataset, self.trainer.model
        parts = self.extract(model, dataset.paths, dataset.modality.tolist())
        return torch.from_numpy(join_arrays(parts, ("neck",))).to(model.device)

    def _remember(self, embeddings: Tensor, labels: np.ndarray, modality: np.ndarray) -> None:
        memories = self.memories
        for kind in (VISIBLE, INFRARED):
            cluster_of = np.where(modality == kind, labels, -1)
            memories.rows[kind] = cluster_means(embeddings, cluster_of)
        matching = match_clusters(memories.rows[VISIBLE], memories.rows[INFRARED])
        for kind, matches in zip((VISIBLE, INFRARED), matching, strict=True):
            memories.matches[kind] = torch.from_numpy(matches).to(embeddings.device)
        memories.crossing = VISIBLE if self.trainer.epoch % 2 else INFRARED  # counted from 0 here

    def after_step(self) -> None:
        """Moves the memories; puts the epoch's values beside those of the step."""
        self.memories.move(**self.moving)
        self.trainer.storage.put_scalars(smoothing_hint=False, **self.values)

    def state_dict(self) -> dict[str, Any]:
        """Returns memories, matches, direction, pseudo labels and what is logged of them."""
        labels = torch.from_numpy(self.labels)
        return {**self.memories.state_dict(), "labels": labels, "values": self.values}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what :meth:`state_dict` returned; the batches follow its labels."""
        self.memories.load_state_dict(state, self.trainer.model.device)
        self.labels, self.values = state["labels"].cpu().numpy(), dict(state["values"])
        self.trainer.data_loader.relabel(self.labels)


def check_clusters(
    labels: np.ndarray, modality: np.ndarray, *, least: int, when: str, eps: float
) -> None:
    """Raises ValueError where a modality has fewer clusters than a batch takes of it."""
    for kind, name in enumerate(MODALITY_NAMES):
        clusters = labels[modality == kind]
        num_clusters = int(clusters.max()) + 1
        if num_clusters < least:
            raise ValueError(
                f"{when}: DBSCAN found {counted(num_clusters, 'cluster')} in the {len(clusters)} "
                f"{name} images, {int((clusters < 0).sum())} of which are outliers; a batch takes "
                f"{least} clusters of each modality. UNSUPERVISED.EPS = {eps}: lower it where "
                "clusters hold several people, raise it where most images are outliers. Or "
                "start from weights that know people (MODEL.WEIGHTS), or lower SOLVER.IMS_PER_BATCH"
            )
