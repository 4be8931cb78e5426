"""Batches of P identities with K visible and K infrared images each, by iteration number."""

from collections.abc import Sequence

import numpy as np

from wrimnet.data.randomness import generator
from wrimnet.modality import INFRARED, MODALITY_NAMES, VISIBLE


class CrossModalitySampler:
    """Draws the same P identities for both modalities of a batch, K images of each modality.

    Identities come from shuffled rounds: a round holds floor(n / P) batches of the n identities
    and uses none twice. Images are drawn without replacement where an identity has K or more of a
    modality, else with replacement. Every batch is a function of (seed, iteration) alone.

    P identities (``num_pids``) and K images (``num_instances``) per identity and modality are of
    the *global* batch of 2PK images. With several processes each gets P / world_size identities.

    Raises:
        ValueError: If P or K is not positive, P does not divide by the number of processes, there
            are fewer than P identities, or an identity lacks a modality.
    """

    def __init__(
        self,
        *,
        pids: Sequence[int],
        modalities: Sequence[int],
        num_pids: int,
        num_instances: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.num_pids, self.num_instances, self.seed = num_pids, num_instances, seed
        self.rank, self.world_size = rank, world_size
        self.pools = _image_pools(np.asarray(pids), np.asarray(modalities))
        self._check()
        self.batches_per_round = len(self.pools) // num_pids

    def _check(self) -> None:
        if self.num_pids < 1 or self.num_instances < 1:
            raise ValueError(
                f"P = {self.num_pids} identities and K = {self.num_instances} images per identity "
                "and modality must both be at least 1; SOLVER.IMS_PER_BATCH is 2PK"
            )
        if self.num_pids % self.world_size:
            raise ValueError(
                f"P = {self.num_pids} identities cannot be shared evenly by {self.world_size} "
                "processes; choose SOLVER.IMS_PER_BATCH so that P is a multiple of that number"
            )
        if len(self.pools) < self.num_pids:
            raise ValueError(
                f"the training set has {len(self.pools)} identities, fewer than the "
                f"P = {self.num_pids} of a batch; lower SOLVER.IMS_PER_BATCH or raise "
                "DATALOADER.NUM_INSTANCE"
            )

    def identities(self, iteration: int) -> np.ndarray:
        """Returns the positions (P,) of the global batch's identities in ascending pid order."""
        round_number, batch = divmod(iteration, self.batches_per_round)
        order = generator(self.seed, "identities", round_number).permutation(len(self.pools))
        return order[batch * self.num_pids : (batch + 1) * self.num_pids]

    def batch(self, iteration: int) -> np.ndarray:
        """Returns this process's image indices of an iteration, (2 * P / world_size * K,).

        The visible images come first; both halves hold the same identities in the same order.
        """
        rng = generator(self.seed, "images", iteration)
        images = np.stack([self._draw(rng, i) for i in self.identities(iteration)], axis=1)
        return np.split(images, self.world_size, axis=1)[self.rank].reshape(-1)

    def _draw(self, rng: np.random.Generator, identity: int) -> np.ndarray:
        """Draws one identity's images, (2, K)."""
        count = self.num_instances
        pools = self.pools[identity]
        return np.stack([rng.choice(pool, count, replace=len(pool) < count) for pool in pools])


def count_repeats(indices: np.ndarray) -> int:
    """Counts how many images of a batch (B,) repeat another of the same batch."""
    return len(indices) - len(np.unique(indices))


def _image_pools(pids: np.ndarray, modalities: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Lists each identity's visible and infrared image indices, identities ascending."""
    pools: dict[int, tuple[list[int], list[int]]] = {int(pid): ([], []) for pid in np.unique(pids)}
    for index, (pid, modality) in enumerate(zip(pids.tolist(), modalities.tolist(), strict=True)):
        pools[pid][modality].append(index)
    for pid, of_pid in pools.items():
        for modality in (VISIBLE, INFRARED):
            if not of_pid[modality]:
                raise ValueError(
                    f"identity {pid} has no {MODALITY_NAMES[modality]} image, but every training "
                    "identity needs both modalities; check the dataset or leave the identity out"
                )
    return [(np.asarray(visible), np.asarray(infrared)) for visible, infrared in pools.values()]
