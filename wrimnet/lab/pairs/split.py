"""Training and test scenes, and the numbers of the identities in them."""

import itertools
from collections.abc import Sequence

from wrimnet.data.datasets.base import held_out_tenth
from wrimnet.data.randomness import generator as seeded_generator
from wrimnet.lab.pairs.options import Options
from wrimnet.lab.pairs.views import Region

Scenes = list[list[Region]]
MAX_IDENTITIES = 9999  # LLCM's folders have four digits
LEAST_IN_TRAINING = 2
LEAST_TO_HOLD_OUT = 4  # of held_out_tenth


def divide(scenes: Sequence[Sequence[Region]], options: Options) -> tuple[Scenes, Scenes]:
    """Divide the scenes that have regions into training and test, and keep as many as wanted.

    With a wanted number, each scene gives its first region before one gives a second.

    Returns:
        The regions of the training scenes and of the test scenes, in drawn order.

    Raises:
        ValueError: too few scenes or regions, or too many for LLCM's layout.
    """
    full = [list(regions) for regions in scenes if regions]
    if len(full) < 2:
        raise ValueError(
            f"{len(full)} of {len(scenes)} scenes have {options.kind}; two disjoint splits need at "
            "least 2: give more photographs, or a smaller --min-size"
        )
    order = seeded_generator(options.seed, "pairs split", 0).permutation(len(full)).tolist()
    number = min(max(round(options.train_share * len(full)), 1), len(full) - 1)
    train = _keep([full[i] for i in order[:number]], "train", options.train_ids, options)
    test = _keep([full[i] for i in order[number:]], "test", options.test_ids, options)
    _check_total(sum(map(len, train)), sum(map(len, test)), options)
    return train, test


def _keep(scenes: Scenes, split: str, num_requested: int | None, options: Options) -> Scenes:
    num_available = sum(map(len, scenes))
    if num_requested is None:
        return scenes
    if num_requested > num_available:
        raise ValueError(
            f"--{split}-ids {num_requested}, but the {len(scenes)} {split} scenes have "
            f"{num_available} {options.kind}; ask for fewer, or give more photographs or a "
            "smaller --min-size"
        )
    turns = itertools.zip_longest(*scenes)
    chosen = set(
        itertools.islice((r for turn in turns for r in turn if r is not None), num_requested)
    )
    return [kept for scene in scenes if (kept := [r for r in scene if r in chosen])]


def _check_total(train: int, test: int, options: Options) -> None:
    if train < LEAST_IN_TRAINING:
        raise ValueError(
            f"the training scenes have {train} {options.kind}, expected at least "
            f"{LEAST_IN_TRAINING}: give more photographs, a larger --train-share or a smaller "
            "--min-size"
        )
    if train + test > MAX_IDENTITIES:
        raise ValueError(
            f"{train} + {test} {options.kind} do not fit folders of four digits; ask for at most "
            f"{MAX_IDENTITIES} with --train-ids and --test-ids"
        )


def number_regions(
    train: Scenes, test: Scenes, pids: tuple[Sequence[int], Sequence[int]]
) -> dict[int, Region]:
    """Give each region a number.

    ``DATASETS.SPLIT train`` holds a tenth of the training numbers out. They go to whole scenes as
    far as the sizes of the scenes allow, so that what is tuned on them was not seen in training.

    Args:
        train: regions of the training scenes.
        test: regions of the test scenes.
        pids: as many training and test numbers as there are regions.
    """
    held_out = held_out_tenth(set(pids[0])) if len(pids[0]) >= LEAST_TO_HOLD_OUT else set()
    first: list[Region] = []
    rest: list[Region] = []
    for scene in train:
        fits = len(first) + len(scene) <= len(held_out)
        (first if fits else rest).extend(scene)
    numbers = [*sorted(held_out), *sorted(set(pids[0]) - held_out), *pids[1]]
    regions = [*first, *rest, *itertools.chain.from_iterable(test)]
    return dict(zip(numbers, regions, strict=True))
