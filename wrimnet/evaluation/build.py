"""The evaluator that a configuration and a dataset ask for."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.evaluation.across_processes import extract_by_all
from wrimnet.evaluation.evaluator import Evaluator, ProtocolRun
from wrimnet.evaluation.extraction import extract_embeddings
from wrimnet.evaluation.galleries import build_trials
from wrimnet.evaluation.permutations import OfficialPermutations
from wrimnet.evaluation.protocols import Protocol, dataset_protocols
from wrimnet.evaluation.scoring import QueryExpansion, Reranking, Scoring


def build_evaluator(cfg: CfgNode, dataset: Any, config_hash: str | None = None) -> Evaluator:
    """Builds the evaluator of a dataset's test images.

    Args:
        cfg: the configuration; keys TEST.*, INPUT.SIZE_TEST, INPUT.INTERPOLATION.
        dataset: has name, folder, test, is_synthetic.
        config_hash: names the configuration in the results.

    Returns:
        The evaluator, its trials already drawn.

    Raises:
        KeyError, ValueError, FileNotFoundError: a protocol, draw or file does not fit; see
            :mod:`wrimnet.evaluation.protocols`, ``galleries`` and ``permutations``.
    """
    return Evaluator(
        items=dataset.test,
        runs=_build_runs(cfg, dataset),
        embedding_parts=_build_parts(cfg),
        extract=_build_extract(cfg),
        scoring=_build_scoring(cfg),
        description=_build_description(cfg, dataset, config_hash),
    )


def _build_parts(cfg: CfgNode) -> tuple[str, ...]:
    """Groups of the test embedding that the network has; Table S4's has no auxiliary level."""
    wrim = cfg.MODEL.WRIM
    absent = set()
    if not wrim.MAIN.STRIPES:
        absent.add("stripes")
    if not wrim.AUXILIARY.ENABLED:
        absent.add("auxiliary")
    return tuple(name for name in wrim.EMBEDDING_PARTS if name not in absent)


def _build_runs(cfg: CfgNode, dataset: Any) -> list[ProtocolRun]:
    protocols = dataset_protocols(dataset.name, tuple(cfg.TEST.PROTOCOLS))
    if cfg.TEST.UNIQUE_IDS:
        protocols = [replace(protocol, unique_ids=True) for protocol in protocols]
    permutations = None
    if cfg.TEST.GALLERY_DRAW == "official":
        file = cfg.TEST.PERM_FILE or Path(dataset.folder, "exp", "rand_perm_cam.mat")
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


def _build_extract(cfg: CfgNode) -> partial:
    height, width = cfg.INPUT.SIZE_TEST
    extract = partial(
        extract_embeddings,
        height=height,
        width=width,
        interpolation=cfg.INPUT.INTERPOLATION,
        batch_size=cfg.TEST.IMS_PER_BATCH,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        timeout=cfg.DATALOADER.TIMEOUT,
        flip=cfg.TEST.FLIP.ENABLED,
        device=cfg.MODEL.DEVICE,
        precision=cfg.SOLVER.PRECISION,
    )
    return partial(extract_by_all, extract, batch_size=cfg.TEST.IMS_PER_BATCH)


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
    if dataset.name == "RegDB":
        description["regdb_trial"] = cfg.DATASETS.REGDB_TRIAL
    return description
