"""Custom augmentations, one after another, with the same draws on any number of processes."""

import inspect
import sys

import numpy as np
import pytest
import torch
from source_tree import ROOT

from wrimnet.config import config_hash, setup_cfg
from wrimnet.data.augmentation import BatchAugmentation, rows_of_rank
from wrimnet.data.augmentation_list import (
    ImageAugmentation,
    RowGenerator,
    as_column,
    build_augmentation,
)
from wrimnet.data.batch_rows import take_rows
from wrimnet.data.randomness import generator
from wrimnet.registries import describe_place

sys.path.append(str(ROOT / "examples" / "own_method"))
GAMMA = "PLUGINS=('own_method.gamma',)"
DRAWS = {
    "uniform": lambda rng, count: rng.uniform(0.5, 2.0, count),
    "pairs": lambda rng, count: rng.normal(size=(count, 2)),
    "integers": lambda rng, count: rng.integers(9, size=count),
    "random": lambda rng, count: rng.random(count),
    "choice": lambda rng, count: rng.choice([1, 2, 3], count),
}


def setup(*words):
    return setup_cfg("", (), ["MODEL.DEVICE=cpu", *words])


def make_batch(count=8, iteration=3):
    drawn = torch.Generator().manual_seed(0)
    return {
        "images": torch.randint(0, 256, (count, 6, 4, 3), generator=drawn, dtype=torch.uint8),
        "modality": torch.arange(2).repeat_interleave(count // 2),
        "iteration": iteration,
    }


def share_of(batch, rank, world_size):
    half = len(batch["modality"]) // 2
    size = half // world_size
    parts = (slice(start + rank * size, start + (rank + 1) * size) for start in (0, half))
    return take_rows(batch, *parts)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("world_size", [2, 4])
def test_rows_of_a_process_are_drawn_as_rows_of_the_whole_batch(draw, world_size):
    whole = draw(generator(1, "a", 0), 16)
    for rank in range(world_size):
        rows = rows_of_rank(16, rank, world_size)
        rng = RowGenerator(generator(1, "a", 0), rows, 16)
        np.testing.assert_array_equal(draw(rng, len(rows)), whole[rows])


def test_draws_that_are_not_of_rows_are_the_same_on_all_processes():
    shares = [RowGenerator(generator(1, "a", 0), rows_of_rank(16, r, 2), 16) for r in range(2)]
    for draw in (lambda g: g.random(), lambda g: g.permutation(5), lambda g: g.uniform(size=3)):
        first, second = (draw(share) for share in shares)
        np.testing.assert_array_equal(first, second)


def test_list_is_applied_in_order_and_on_each_share_as_on_the_whole():
    def scaled(images, modality, rng):
        return images * as_column(rng.uniform(0.5, 1.0, len(images)), images)

    def shifted(images, modality, rng):
        return images + as_column(rng.integers(50, size=len(images)), images)

    def augmented(batch, **place):
        for number, function in enumerate((scaled, shifted)):
            step = ImageAugmentation(function, stream=f"a {number}", seed=1, **place)
            batch = step.augment(batch)
        return batch["images"]

    batch = make_batch()
    whole = augmented(batch)
    pixels = batch["images"].permute(0, 3, 1, 2).float()
    factors = generator(1, "a 0", 3).uniform(0.5, 1.0, 8)
    shifts = generator(1, "a 1", 3).integers(50, size=8)
    expected = pixels * as_column(factors, pixels) + as_column(shifts, pixels)
    assert torch.equal(whole, expected)
    for rank in range(2):
        share = augmented(share_of(batch, rank, 2), rank=rank, world_size=2)
        assert torch.equal(share, whole[rows_of_rank(8, rank, 2)])


def test_configuration_names_a_list_with_one_of_ones_own():
    cfg = setup(GAMMA, "INPUT.AUGMENTATION=['default','RandomGamma','RandomGamma']")
    batch = make_batch(4)
    batch["images"] = batch["images"].repeat(1, 8, 6, 1)
    built = build_augmentation(cfg)
    default, once, twice = built.steps
    assert once.stream != twice.stream
    plain = default.augment(batch)["images"]
    result = built.augment(batch)["images"]
    assert plain.min() >= 0 and plain.max() <= 255
    torch.testing.assert_close(result[:2], plain[:2])  # visible
    assert result.isfinite().all() and (result[2:] != plain[2:]).any()


def test_single_name_is_accepted_and_hashes_as_before():
    plain = setup()
    assert type(build_augmentation(plain)) is BatchAugmentation
    named = setup("INPUT.AUGMENTATION=build_batch_augmentation")
    assert config_hash(named) == config_hash(plain)
    alone = build_augmentation(setup(GAMMA, "INPUT.AUGMENTATION=RandomGamma"))
    assert alone.augment(make_batch())["images"].shape == (8, 3, 6, 4)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda images: images[:3], r"returned \(3, 3, 6, 4\); expected a tensor \(8, 3, 6, 4\)"),
        (lambda images: images.numpy(), "returned ndarray; expected a tensor"),
        (lambda images: None, "returned NoneType"),
    ],
)
def test_something_else_than_the_images_is_refused(returned, message):
    step = ImageAugmentation(lambda images, modality, rng: returned(images), stream="a", seed=0)
    with pytest.raises(ValueError, match=message):
        step.augment(make_batch())


def test_augmentation_of_another_shape_is_named_with_its_line():
    place = rf"{__file__}, line {inspect.getsourcelines(Cropping)[1]}"
    step = ImageAugmentation(Cropping(), stream="a", seed=0)
    with pytest.raises(ValueError, match=rf"Cropping of {__name__} \({place}\) returned \(3, 3"):
        step.augment(make_batch())


class Cropping:
    def __call__(self, images, modality, rng):
        return images[:3]


def test_a_class_without_a_source_file_is_named_with_its_module_alone():
    unknown = type("FromANotebook", (), {"__module__": "__main__"})
    assert describe_place(unknown()) == "FromANotebook of __main__"


def test_default_behind_another_is_refused():
    built = build_augmentation(setup(GAMMA, "INPUT.AUGMENTATION=['RandomGamma', 'default']"))
    with pytest.raises(
        ValueError, match=r"BatchAugmentation takes images as .* \[default, Yours\]"
    ):
        built.augment(make_batch())


def test_unknown_name_in_a_list_is_refused():
    with pytest.raises(ValueError, match=r"AUGMENTATION = 'Gamma': expected one of .*default"):
        setup("INPUT.AUGMENTATION=['default','Gamma']")
    with pytest.raises(ValueError, match=r"AUGMENTATION = \(\): expected one value or n of them"):
        setup("INPUT.AUGMENTATION=[]")
