"""Ranked lists of a protocol's first trial: which queries to show, and what they found."""

from typing import NamedTuple

import numpy as np
import torch

from wrimnet.data.randomness import generator
from wrimnet.evaluation.evaluator import ProtocolRun
from wrimnet.evaluation.scoring import item_labels
from wrimnet.inspection.subject import Subject
from wrimnet.metrics.exclusion import camera_rule
from wrimnet.metrics.ranking import rank_queries

KINDS = ("best", "random", "worst")


class Ranking(NamedTuple):
    """One query and its gallery, as rows of the test images.

    Attributes:
        kind: why it was chosen.
        query: row of the query.
        average_precision: of its list.
        order: (G,) gallery rows, nearest first, removed ones included.
        similarity: (G,) cosine of each.
        removed: (G,) True where the camera rule removes it.
    """

    kind: str
    query: int
    average_precision: float
    order: np.ndarray
    similarity: np.ndarray
    removed: np.ndarray


def choose_rankings(subject: Subject, run: ProtocolRun, per_kind: int) -> list[Ranking]:
    """Ranks the first trial of a protocol and picks queries of each of KINDS.

    Best and worst by average precision, ties in the order of the queries; queries without a match
    are not shown. No query comes twice.
    """
    trial = run.trials[0]
    labels = item_labels(subject.items)
    queries, gallery = (torch.from_numpy(r) for r in (trial.query_rows, trial.gallery_rows))
    embeddings = torch.from_numpy(subject.embeddings).double()
    dist = -(embeddings[queries] @ embeddings[gallery].T)
    rule = camera_rule(run.protocol.camera_rule)
    scores = rank_queries(
        dist, labels[queries], labels[gallery], rule=rule, unique_ids=run.protocol.unique_ids
    )
    rankings = []
    for kind, number in _choose(scores.average_precision, scores.first_match > 0, per_kind,
                                subject.seed):  # fmt: skip
        row = queries[number : number + 1]
        removed = rule(*_sides(labels[row]), *_sides(labels[gallery]))[0]
        order = dist[number].argsort(stable=True)
        rankings.append(
            Ranking(
                kind=kind,
                query=int(row),
                average_precision=float(scores.average_precision[number]),
                order=gallery[order].numpy(),
                similarity=-dist[number][order].numpy(),
                removed=removed[order].numpy(),
            )
        )
    return rankings


def _sides(labels: object) -> tuple[torch.Tensor, torch.Tensor]:
    return labels.pids, labels.camids


def _choose(
    precision: np.ndarray, has_match: np.ndarray, per_kind: int, seed: int
) -> list[tuple[str, int]]:
    """Kind and number of the queries shown."""
    ascending = np.flatnonzero(has_match)
    ascending = ascending[np.argsort(precision[ascending], kind="stable")]
    best = np.flatnonzero(has_match)
    best = best[np.argsort(-precision[best], kind="stable")][:per_kind]
    worst = [number for number in ascending if number not in set(best)][:per_kind]
    rest = np.setdiff1d(ascending, [*best, *worst])
    drawn = generator(seed, "ranked lists", 0).permutation(rest)[:per_kind]
    chosen = {"best": best, "random": drawn, "worst": worst}
    return [(kind, int(number)) for kind in KINDS for number in chosen[kind]]
