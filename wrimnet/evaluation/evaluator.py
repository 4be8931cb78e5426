"""One model or one set of embeddings under all protocols of a dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

import numpy as np
from fastreid.config import CfgNode
from fastreid.utils import comm

from wrimnet.data.items import ImageItem
from wrimnet.data.protocols import Protocol, dataset_protocols
from wrimnet.evaluation.extraction import (
    Extraction,
    build_extraction,
    extract_by_all,
    from_main_process,
    join_arrays,
)
from wrimnet.evaluation.galleries import OfficialPermutations, Trial, build_trials
from wrimnet.evaluation.provenance import describe_code, describe_weights
from wrimnet.evaluation.results import EvaluationReport, ProtocolResult
from wrimnet.evaluation.scoring import QueryExpansion, Reranking, Scoring, score_trials


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
        extraction: gives a model's parts, each (N, D_part), for images of given modalities.
        scoring: similarity, expansion, re-ranking, memory, device.
        description: what else the results depend on.
    """

    def __init__(
        self,
        *,
        items: Sequence[ImageItem],
        runs: Sequence[ProtocolRun],
        extraction: Extraction,
        scoring: Scoring,
        description: Mapping[str, Any],
    ) -> None:
        self.items = items
        self.runs = runs
        self.description = description
        self._extraction = extraction
        self._scoring = scoring

    def run(self, model: Any, weights: str | None = None) -> EvaluationReport:
        """Evaluates a model; with several processes the main one scores for all.

        Args:
            model: a :class:`wrimnet.modeling.network.CrossModalityNetwork`.
            weights: file that its weights came from; None for weights in memory only.

        Returns:
            The report.

        Raises:
            FileNotFoundError: the weights file does not exist.
            ValueError: images or embeddings are unusable.
        """
        if not comm.is_main_process():
            self.extract(model)
            return from_main_process(None)
        described = describe_weights(weights)
        report = self.score(self.extract(model), model.embedding_parts, weights=described)
        return from_main_process(report)

    def extract(self, model: Any) -> dict[str, np.ndarray]:
        """Returns a model's parts of every item, each (N, D_part)."""
        return extract_by_all(
            self._extraction,
            model,
            [item.path for item in self.items],
            [item.modality for item in self.items],
            self._extraction.batch_size,
        )

    def score(
        self,
        parts: Mapping[str, np.ndarray],
        embedding_parts: Sequence[str],
        weights: Mapping[str, str] | None = None,
    ) -> EvaluationReport:
        """Evaluates embeddings.

        Args:
            parts: for each group its embeddings (N, D_part), rows in the order of the items.
            embedding_parts: groups that make up the embedding, in order.
            weights: path and sha256 of the weights they came from.

        Returns:
            The report.
        """
        whole, results = tuple(embedding_parts), []
        for names in selections(whole, parts):
            embeddings = join_arrays(parts, names)
            results += [self._score(run, names, names == whole, embeddings) for run in self.runs]
        results.sort(key=lambda result: not result.whole)
        description = {**self.description, "weights": weights, "code": describe_code()}
        return EvaluationReport(description, results)

    def _score(
        self, run: ProtocolRun, names: tuple[str, ...], whole: bool, embeddings: np.ndarray
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
            whole=whole,
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


def build_evaluator(cfg: CfgNode, dataset: Any, config_hash: str | None = None) -> Evaluator:
    """Builds the evaluator of a dataset's test images.

    Args:
        cfg: the configuration; keys TEST.*, INPUT.SIZE_TEST, INPUT.INTERPOLATION.
        dataset: a :class:`wrimnet.data.datasets.base.CrossModalityDataset`.
        config_hash: names the configuration in the results.

    Returns:
        The evaluator, its trials already drawn.

    Raises:
        KeyError, ValueError, FileNotFoundError: a protocol, draw or file does not fit; see
            :mod:`wrimnet.data.protocols` and ``galleries``.
    """
    return Evaluator(
        items=dataset.test,
        runs=_build_runs(cfg, dataset),
        extraction=build_extraction(cfg),
        scoring=_build_scoring(cfg),
        description=_build_description(cfg, dataset, config_hash),
    )


def _build_runs(cfg: CfgNode, dataset: Any) -> list[ProtocolRun]:
    protocols = dataset_protocols(type(dataset), tuple(cfg.TEST.PROTOCOLS))
    if cfg.TEST.UNIQUE_IDS:
        protocols = [replace(protocol, unique_ids=True) for protocol in protocols]
    permutations = None
    if cfg.TEST.GALLERY_DRAW == "official":
        file = cfg.TEST.PERM_FILE or Path(dataset.folder, dataset.permutation_file)
        permutations = OfficialPermutations.load(file)
    return [_build_run(cfg, protocol, dataset, permutations) for protocol in protocols]


def _build_run(
    cfg: CfgNode, protocol: Protocol, dataset: Any, permutations: OfficialPermutations | None
) -> ProtocolRun:
    trials = build_trials(
        protocol,
        dataset.test,
        draw=cfg.TEST.GALLERY_DRAW,
        num_trials=cfg.TEST.NUM_TRIALS,
        permutations=permutations,
    )
    return ProtocolRun(protocol, cfg.TEST.GALLERY_DRAW if protocol.drawn_side else "", trials)


def _build_scoring(cfg: CfgNode) -> Scoring:
    expansion, reranking = cfg.TEST.AQE, cfg.TEST.RERANK
    return Scoring(
        memory_gb=cfg.TEST.MEMORY_GB,
        device=cfg.MODEL.DEVICE,
        expansion=QueryExpansion(
            neighbors=expansion.QE_K, alpha=expansion.ALPHA, rounds=expansion.QE_TIME
        )
        if expansion.ENABLED
        else None,
        reranking=Reranking(k1=reranking.K1, k2=reranking.K2, original_weight=reranking.LAMBDA)
        if reranking.ENABLED
        else None,
    )


def _build_description(cfg: CfgNode, dataset: Any, config_hash: str | None) -> dict[str, Any]:
    expansion, reranking = cfg.TEST.AQE, cfg.TEST.RERANK
    description = {
        "dataset": dataset.name,
        "synthetic": bool(dataset.is_synthetic),
        "split": cfg.DATASETS.SPLIT,
        "flip": cfg.TEST.FLIP.ENABLED,
        "reranking": f"k1={reranking.K1} k2={reranking.K2} lambda={reranking.LAMBDA}"
        if reranking.ENABLED
        else None,
        "query_expansion": f"k={expansion.QE_K} alpha={expansion.ALPHA} rounds={expansion.QE_TIME}"
        if expansion.ENABLED
        else None,
        "input": f"{cfg.INPUT.SIZE_TEST[0]}x{cfg.INPUT.SIZE_TEST[1]} {cfg.INPUT.INTERPOLATION}",
        "precision": cfg.SOLVER.PRECISION,
        "config": config_hash,
    }
    return {**description, **dataset.describe_number(dataset.number)}
