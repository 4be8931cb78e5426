"""One model or one set of embeddings under all protocols of a dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

import numpy as np
from fastreid.config import CfgNode
from fastreid.utils import comm

from wrimnet.config.setup import build_infrared_range, config_hash
from wrimnet.data.datasets.base import DRAWN
from wrimnet.data.images import ImageItem, fingerprint
from wrimnet.data.protocols import Protocol, dataset_protocols
from wrimnet.evaluation.extraction import (
    Extraction,
    build_extraction,
    extract_by_all,
    from_main_process,
    join_arrays,
)
from wrimnet.evaluation.galleries import OfficialPermutations, Trial, build_trials, check_draw
from wrimnet.evaluation.plugin_sources import describe_plugins
from wrimnet.evaluation.provenance import describe_code, describe_weights
from wrimnet.evaluation.query_values import NUM_NEAREST, QueryValues
from wrimnet.evaluation.results import EvaluationReport, ProtocolResult, describe_metrics
from wrimnet.evaluation.scoring import QueryExpansion, Reranking, Scoring, rank_trials
from wrimnet.metrics.names import PRINTED
from wrimnet.metrics.ranking import summarize_scores
from wrimnet.registries import find_metrics


@dataclass(frozen=True)
class ProtocolRun:
    """A protocol with its trials on a list of items; ``draw`` is "" where it has none."""

    protocol: Protocol
    draw: str
    trials: list[Trial]


class Evaluator:
    """Embeds N test images once and scores every protocol on the whole embedding and its parts.

    ``metrics`` are names that TEST.METRICS may have, ``description`` says what else the results
    depend on.
    """

    def __init__(
        self,
        *,
        items: Sequence[ImageItem],
        runs: Sequence[ProtocolRun],
        extraction: Extraction,
        scoring: Scoring,
        description: dict[str, Any],
        metrics: Sequence[str] = PRINTED,
    ) -> None:
        self.items = items
        self.runs = runs
        self.metrics = tuple(metrics)
        self.registered = find_metrics(metrics)
        self.description = description
        self._extraction = extraction
        self._scoring = scoring

    def run(self, model: Any, weights: str | None = None) -> EvaluationReport:
        """Evaluates a network; with several processes the main one scores for all.

        ``weights`` is the file that they came from, None for weights in memory only. A
        dataset without protocols gives a report without results.
        """
        if not self.runs:
            return EvaluationReport(self.description, [])
        if not comm.is_main_process():
            self.extract(model)
            return from_main_process(None)
        described = describe_weights(weights)
        report = self.score(self.extract(model), model.embedding_parts, weights=described)
        return from_main_process(report)

    def check(self) -> None:
        """Reads every image and compares what scoring is set to with the galleries; see run."""
        modalities = [item.modality for item in self.items]
        self._extraction.check_images([item.path for item in self.items], modalities)
        for run in self.runs:
            for trial in run.trials:
                self._scoring.check(len(trial.query_rows), len(trial.gallery_rows))

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
        """Evaluates each group's embeddings (N, D_part), rows in the order of the items.

        ``weights`` is path and sha256 of those they came from.
        """
        whole, results = tuple(embedding_parts), []
        for names in selections(whole, parts):
            embeddings = join_arrays(parts, names)
            for run in self.runs:
                results.append(self._score_run(run, embeddings, names, names == whole))
        results.sort(key=lambda result: not result.whole)
        description = {**self.description, "weights": weights, "code": describe_code()}
        return EvaluationReport(description, results)

    def _score_run(
        self, run: ProtocolRun, embeddings: np.ndarray, parts: tuple[str, ...], whole: bool
    ) -> ProtocolResult:
        """Scores a protocol on (N, D); the whole embedding's queries are listed one by one."""
        ranked = rank_trials(
            embeddings,
            self.items,
            run.trials,
            run.protocol,
            self._scoring,
            metrics=self.registered,
            num_nearest=NUM_NEAREST if whole else 0,
        )
        return ProtocolResult(
            run.protocol,
            run.draw,
            parts,
            whole,
            [summarize_scores(scores, self.registered) for scores in ranked],
            self.metrics,
            QueryValues(self.items, run.trials, ranked, (*self.registered,)) if whole else None,
        )


def selections(
    embedding_parts: tuple[str, ...], parts: Mapping[str, np.ndarray]
) -> list[tuple[str, ...]]:
    """Returns the whole embedding, then each group alone; KeyError if the model lacks one of it."""
    missing = [name for name in embedding_parts if name not in parts]
    if missing:
        raise KeyError(
            f"MODEL.WRIM.EMBEDDING_PARTS names {missing}, the model has {sorted(parts)}; "
            "select only groups that it has"
        )
    alone = [(name,) for name in parts]
    return [embedding_parts, *(group for group in alone if group != embedding_parts)]


def build_evaluator(cfg: CfgNode, dataset: Any) -> Evaluator:
    """Builds the evaluator of a dataset's test images, its trials already drawn.

    What does not fit is refused by :mod:`wrimnet.data.protocols` and ``galleries``.
    """
    return Evaluator(
        items=dataset.test,
        runs=_build_runs(cfg, dataset),
        extraction=build_extraction(cfg),
        scoring=_build_scoring(cfg),
        description=_build_description(cfg, dataset),
        metrics=cfg.TEST.METRICS,
    )


def _build_runs(cfg: CfgNode, dataset: Any) -> list[ProtocolRun]:
    protocols = dataset_protocols(type(dataset), tuple(cfg.TEST.PROTOCOLS))
    if cfg.TEST.UNIQUE_IDS:
        protocols = [replace(protocol, unique_ids=True) for protocol in protocols]
    draw, permutations = cfg.TEST.GALLERY_DRAW, None
    for protocol in protocols:
        check_draw(protocol, draw)
    if draw == "official":
        file = cfg.TEST.PERM_FILE or Path(dataset.folder, dataset.permutation_file)
        permutations = OfficialPermutations.load(file)
    runs = []
    for protocol in protocols:
        trials = build_trials(
            protocol,
            dataset.test,
            draw=draw,
            num_trials=cfg.TEST.NUM_TRIALS,
            permutations=permutations,
        )
        runs.append(ProtocolRun(protocol, draw if protocol.drawn_side else "", trials))
    return runs


def _build_scoring(cfg: CfgNode) -> Scoring:
    aqe, rerank = cfg.TEST.AQE, cfg.TEST.RERANK
    expansion, reranking = None, None
    if aqe.ENABLED:
        expansion = QueryExpansion(neighbors=aqe.QE_K, alpha=aqe.ALPHA, rounds=aqe.QE_TIME)
    if rerank.ENABLED:
        reranking = Reranking(
            k1=rerank.K1,
            k2=rerank.K2,
            original_weight=rerank.LAMBDA,
            gallery_neighbors=rerank.GALLERY_NEIGHBORS,
        )
    return Scoring(
        memory_gb=cfg.TEST.MEMORY_GB,
        device=cfg.MODEL.DEVICE,
        expansion=expansion,
        reranking=reranking,
    )


def build_test_facts(cfg: CfgNode) -> dict[str, Any]:
    """Returns what of a configuration results that are compared must share, protocols aside."""
    infrared_range = build_infrared_range(cfg)
    return {
        **describe_metrics(cfg.TEST.METRICS),
        **({"infrared_range": list(infrared_range)} if infrared_range else {}),
        **({} if cfg.MODEL.WEIGHTS_STRICT else {"weights_strict": False}),
        "split": cfg.DATASETS.SPLIT,
        "flip": cfg.TEST.FLIP.ENABLED,
        **_build_scoring(cfg).describe(),
        "input": f"{cfg.INPUT.SIZE_TEST[0]}x{cfg.INPUT.SIZE_TEST[1]} {cfg.INPUT.INTERPOLATION}",
        "precision": cfg.SOLVER.PRECISION,
    }


def _build_description(cfg: CfgNode, dataset: Any) -> dict[str, Any]:
    what, plugins = dataset.stand_in, describe_plugins(cfg.PLUGINS)
    description = {
        "dataset": dataset.name,
        "synthetic": bool(what),
        **({} if what in ("", DRAWN) else {"stand_in": what}),
        "images": fingerprint(dataset.test),
        **({"plugins": plugins} if plugins else {}),
        **build_test_facts(cfg),
        "config": config_hash(cfg),
    }
    return {**description, **dataset.describe_number(dataset.number)}
