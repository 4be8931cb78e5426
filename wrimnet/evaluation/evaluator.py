"""One model or one set of embeddings under all protocols of a dataset."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import wrimnet.compat  # noqa: F401

import numpy as np
from fastreid.utils import comm

from wrimnet.data.items import ImageItem
from wrimnet.evaluation.across_processes import from_main_process
from wrimnet.evaluation.galleries import Trial
from wrimnet.evaluation.protocols import Protocol
from wrimnet.evaluation.provenance import describe_code, describe_weights
from wrimnet.evaluation.results import EvaluationReport, ProtocolResult
from wrimnet.evaluation.scoring import Scoring, score_trials

Extract = Callable[[Any, Sequence[ImageItem]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class ProtocolRun:
    """A protocol with its trials on a list of items; ``draw`` is "" where it has none."""

    protocol: Protocol
    draw: str
    trials: list[Trial]


class Evaluator:
    """Embeds the test images once and scores every protocol on the whole embedding and its parts.

    Args:
        items: N test images of both modalities.
        runs: protocols and their trials on these items.
        embedding_parts: groups that make up the embedding, in order.
        extract: gives a model's parts, each (N, D_part), for the items.
        scoring: similarity, expansion, re-ranking, memory, device.
        description: what else the results depend on.
    """

    def __init__(
        self,
        *,
        items: Sequence[ImageItem],
        runs: Sequence[ProtocolRun],
        embedding_parts: Sequence[str],
        extract: Extract,
        scoring: Scoring,
        description: Mapping[str, Any],
    ) -> None:
        self.items = items
        self.runs = runs
        self.embedding_parts = tuple(embedding_parts)
        self.description = description
        self._extract = extract
        self._scoring = scoring

    def run(self, model: Any, weights: str | None = None) -> EvaluationReport:
        """Evaluates a model; with several processes the main one scores for all.

        Args:
            model: has ``embed_parts(images, modality)``.
            weights: file that its weights came from; None for weights in memory only.

        Returns:
            The report.

        Raises:
            FileNotFoundError: the weights file does not exist.
            ValueError: images or embeddings are unusable.
        """
        if not comm.is_main_process():
            self._extract(model, self.items)
            return from_main_process(None)
        described = describe_weights(weights)
        report = self.score(self._extract(model, self.items), weights=described)
        return from_main_process(report)

    def embed(self, model: Any) -> np.ndarray:
        """Returns the whole test embedding of every item, (N, D) of unit length."""
        return join_parts(self._extract(model, self.items), self.embedding_parts)

    def score(
        self, parts: Mapping[str, np.ndarray], weights: Mapping[str, str] | None = None
    ) -> EvaluationReport:
        """Evaluates embeddings.

        Args:
            parts: for each group its embeddings (N, D_part), rows in the order of the items.
            weights: path and sha256 of the weights they came from.

        Returns:
            The report.
        """
        results = []
        for names in selections(self.embedding_parts, parts):
            embeddings = join_parts(parts, names)
            results += [self._score(run, names, embeddings) for run in self.runs]
        results.sort(key=lambda result: not result.whole)
        description = {**self.description, "weights": weights, "code": describe_code()}
        return EvaluationReport(description, results)

    def _score(
        self, run: ProtocolRun, names: tuple[str, ...], embeddings: np.ndarray
    ) -> ProtocolResult:
        trials = score_trials(
            embeddings,
            self.items,
            run.trials,
            rule=run.protocol.camera_rule,
            unique_ids=run.protocol.unique_ids,
            scoring=self._scoring,
        )
        return ProtocolResult(
            protocol=run.protocol,
            draw=run.draw,
            parts=names,
            whole=names == self.embedding_parts,
            trials=tuple(trials),
        )


def selections(
    embedding_parts: tuple[str, ...], parts: Mapping[str, np.ndarray]
) -> list[tuple[str, ...]]:
    """Returns the whole embedding, then each group that the model has, alone.

    Raises:
        KeyError: the model lacks a group of the embedding.
    """
    missing = [name for name in embedding_parts if name not in parts]
    if missing:
        raise KeyError(
            f"MODEL.WRIM.EMBEDDING_PARTS names {missing}, the model has {sorted(parts)}; "
            "select only groups that it has"
        )
    alone = [(name,) for name in parts]
    return [embedding_parts, *(group for group in alone if group != embedding_parts)]


def join_parts(parts: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Concatenates groups (N, D_part) and scales each row to unit length, (N, D) float32."""
    joined = np.concatenate([parts[name] for name in names], axis=1).astype(np.float32, copy=False)
    length = np.sqrt(np.einsum("nd,nd->n", joined, joined, dtype=np.float64))[:, None]
    if not (length > 0).all():
        rows = np.flatnonzero(~(length[:, 0] > 0))
        raise ValueError(
            f"the embedding {'+'.join(names)} of row {rows[0]} has length {length[rows[0], 0]}; "
            f"{rows.size} of {len(joined)} cannot be scaled to unit length"
        )
    joined /= length
    return joined
