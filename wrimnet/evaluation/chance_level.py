"""What embeddings without any information score under a protocol."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wrimnet.data.images import ImageItem
from wrimnet.data.protocols import Protocol
from wrimnet.data.randomness import generator
from wrimnet.evaluation.galleries import Trial
from wrimnet.evaluation.results import trial_metrics
from wrimnet.evaluation.scoring import Scoring, score_trials
from wrimnet.metrics.names import PRINTED
from wrimnet.registries import find_metrics

_DIMENSIONS = 32


@dataclass(frozen=True)
class ChanceLevel:
    """Mean and standard deviation over random embeddings of each metric, as fractions."""

    mean: dict[str, float]
    std: dict[str, float]
    num_embeddings: int


def chance_level(
    protocol: Protocol,
    items: Sequence[ImageItem],
    trials: Sequence[Trial],
    *,
    num_embeddings: int = 100,
    seed: int = 0,
    scoring: Scoring | None = None,
    metrics: Sequence[str] = PRINTED,
) -> ChanceLevel:
    """Scores random unit vectors: each embedding is one model without information.

    Args:
        protocol: who queries whom.
        items: N test images.
        trials: the protocol's trials on them; their mean is an embedding's score.
        num_embeddings: how many are drawn, at least 2.
        seed: of the draw.
        scoring: memory and device.
        metrics: names of those that are scored, as TEST.METRICS has them.

    Returns:
        Mean and sample standard deviation over the embeddings.

    Raises:
        ValueError: fewer than two embeddings.
    """
    if num_embeddings < 2:
        raise ValueError(f"num_embeddings is {num_embeddings}; a spread needs at least 2")
    scores, registered = [], find_metrics(metrics)
    for number in range(num_embeddings):
        directions = _random_directions(seed, number, len(items))
        trial_scores = score_trials(
            directions, items, trials, protocol, scoring or Scoring(), registered
        )
        values = [list(trial_metrics(trial, metrics).values()) for trial in trial_scores]
        scores.append(np.mean(values, axis=0))
    mean, std = np.mean(scores, axis=0), np.std(scores, axis=0, ddof=1)
    return ChanceLevel(
        mean=dict(zip(metrics, mean.tolist(), strict=True)),
        std=dict(zip(metrics, std.tolist(), strict=True)),
        num_embeddings=num_embeddings,
    )


def _random_directions(seed: int, number: int, count: int) -> np.ndarray:
    vectors = generator(seed, "chance", number).standard_normal((count, _DIMENSIONS))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
