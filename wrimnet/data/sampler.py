"""Training batches of P identities with K visible and K infrared images each, by iteration number.

A sampler of your own is a function in SAMPLER_REGISTRY that DATALOADER.SAMPLER_TRAIN names:
``(labels, modality, rng, batch) -> rows``. It gets the identity and the modality of each of the N
training images, a generator of this iteration and the :class:`BatchRequest`, and returns the rows
of the whole batch, visible images first. An image whose label is negative is not to be drawn.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from wrimnet.data.randomness import generator
from wrimnet.modality import INFRARED, MODALITY_NAMES, VISIBLE
from wrimnet.registries import SAMPLER_REGISTRY, describe_place, register_as


class BatchRequest(NamedTuple):
    """Which batch to draw: P identities, K images of each per modality, of an iteration."""

    num_pids: int
    num_instances: int
    iteration: int
    seed: int  # for draws that several iterations share, by wrimnet.data.randomness.generator


Sampler = Callable[[np.ndarray, np.ndarray, np.random.Generator, BatchRequest], np.ndarray]


@register_as(SAMPLER_REGISTRY, "cross_modality")
def draw_cross_modality(
    labels: np.ndarray, modality: np.ndarray, rng: np.random.Generator, batch: BatchRequest
) -> np.ndarray:
    """Draws the same P identities for both modalities, K images of each modality.

    Identities come from shuffled rounds: a round holds floor(n / P) batches of the n identities
    and uses none twice. Images are drawn without replacement where an identity has K or more of a
    modality, else with replacement. Both halves hold the same identities in the same order.

    Raises:
        ValueError: there are fewer than P identities, or an identity lacks a modality.
    """
    pools = _image_pools(labels.tobytes(), modality.tobytes())
    if len(pools) < batch.num_pids:
        raise ValueError(
            f"the training set has {len(pools)} identities, fewer than the P = {batch.num_pids} "
            "of a batch; lower SOLVER.IMS_PER_BATCH or raise DATALOADER.NUM_INSTANCE"
        )
    number, position = divmod(batch.iteration, len(pools) // batch.num_pids)
    order = generator(batch.seed, "identities", number).permutation(len(pools))
    identities = order[position * batch.num_pids : (position + 1) * batch.num_pids]
    images = [_draw_images(rng, pools[i], batch.num_instances) for i in identities]
    return np.stack(images, axis=1).reshape(-1)


def _draw_images(
    rng: np.random.Generator, pools: tuple[np.ndarray, np.ndarray], count: int
) -> np.ndarray:
    """Draws one identity's images, (2, K)."""
    return np.stack([rng.choice(pool, count, replace=len(pool) < count) for pool in pools])


@lru_cache(maxsize=4)
def _image_pools(labels: bytes, modality: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Lists each identity's visible and infrared image indices, identities ascending."""
    numbers = np.frombuffer(labels, np.int64).tolist()
    pools: dict[int, tuple[list[int], list[int]]] = {n: ([], []) for n in sorted({*numbers})}
    for index, (number, kind) in enumerate(
        zip(numbers, np.frombuffer(modality, np.int64).tolist(), strict=True)
    ):
        pools[number][kind].append(index)
    used = {number: of_identity for number, of_identity in pools.items() if number >= 0}
    for number, of_identity in used.items():
        for kind in (VISIBLE, INFRARED):
            if not of_identity[kind]:
                raise ValueError(
                    f"identity {number} has no {MODALITY_NAMES[kind]} image, but every training "
                    "identity needs both modalities; check the dataset or leave the identity out"
                )
    return [(np.asarray(visible), np.asarray(infrared)) for visible, infrared in used.values()]


class CrossModalitySampler:
    """Gives a process its share of the batch that a sampler draws; a function of (seed, iteration).

    P identities (``num_pids``) and K images (``num_instances``) per identity and modality are of
    the *whole* batch of 2PK images; of several processes each gets 1 / world_size of either half.

    Args:
        pids: identities of the N training images; a hook may replace them by ``relabel``.
        modalities: of the N images.
        draw: the sampler, see the text of this module.

    Raises:
        ValueError: the sampler refuses the labels or returns something else than the rows of a
            batch.
    """

    def __init__(
        self,
        *,
        pids: Sequence[int] | np.ndarray,
        modalities: Sequence[int] | np.ndarray,
        num_pids: int,
        num_instances: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        draw: Sampler = draw_cross_modality,
    ) -> None:
        self.num_pids, self.num_instances, self.seed = num_pids, num_instances, seed
        self.rank, self.world_size, self.draw = rank, world_size, draw
        self.labels, self.modality = np.array(pids, np.int64), np.array(modalities, np.int64)
        self.batch(0)  # what cannot be drawn is told before training

    def batch(self, iteration: int) -> np.ndarray:
        """Returns this process's rows of an iteration, (2 * P / world_size * K,), visible first."""
        request = BatchRequest(self.num_pids, self.num_instances, iteration, self.seed)
        rng = generator(self.seed, "images", iteration)
        rows = np.asarray(self.draw(self.labels, self.modality, rng, request))
        self._check_rows(rows)
        return np.split(rows.reshape(2, -1), self.world_size, axis=1)[self.rank].reshape(-1)

    def _check_rows(self, rows: np.ndarray) -> None:
        half = self.num_pids * self.num_instances
        has_form = rows.shape == (2 * half,) and np.issubdtype(rows.dtype, np.integer)
        if not has_form or rows.min() < 0 or rows.max() >= len(self.labels):
            raise ValueError(
                f"DATALOADER.SAMPLER_TRAIN: {describe_place(self.draw)} returned {rows.dtype} "
                f"{rows.shape}; expected {2 * half} rows of the training set, "
                f"0 to {len(self.labels) - 1}"
            )
        if (self.modality[rows] != np.repeat((VISIBLE, INFRARED), half)).any():
            raise ValueError(
                f"DATALOADER.SAMPLER_TRAIN: {describe_place(self.draw)} returned rows in another "
                f"order; expected {half} visible images, then as many infrared ones"
            )

    def relabel(self, labels: np.ndarray) -> None:
        """Replaces the identities of the N images; a negative one is not drawn.

        Raises:
            ValueError: another number of labels, or no integers.
        """
        labels = np.asarray(labels)
        if labels.shape != self.labels.shape or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                f"new labels are {labels.dtype} {labels.shape}; expected one integer for each of "
                f"the {len(self.labels)} training images"
            )
        self.labels = labels.astype(np.int64)


def count_repeats(indices: np.ndarray) -> int:
    """Counts how many images of a batch (B,) repeat another of the same batch."""
    return len(indices) - len(np.unique(indices))
