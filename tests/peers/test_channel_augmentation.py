"""Channel augmentation against image-by-image definitions, and its place in the training step."""

import numpy as np
import pytest
import torch

from wrimnet.config import setup_cfg
from wrimnet.data.augmentation import LUMA, AugmentationSettings
from wrimnet.data.augmentation_list import build_augmentation
from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.peers.channel_augmentation import (
    GRAY,
    UNCHANGED,
    ChannelAugmentation,
    padded_crop,
    replace_channels,
)

H, W = 12, 8
OFF = AugmentationSettings(
    scales=(1.0,), flip_prob=0.0, erase_prob=0.0, erase_area=(0.1, 0.2), erase_aspect=(0.5, 2.0),
    grayscale_prob=0.0,
)  # fmt: skip


def images(count, seed=0):
    drawn = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, H, W, 3), generator=drawn, dtype=torch.uint8)


def augmentation(*, settings=OFF, padding=0, adaptation=False, two_views=False, **options):
    parts = {"padding": padding, "adaptation": adaptation, "two_views": two_views}
    base = {"settings": settings, "fill": (1.0, 2.0, 3.0), "seed": 5, **options}
    return ChannelAugmentation(**parts, **base)


def make_batch(pids=2, instances=3, iteration=4):
    size = pids * instances
    labels = torch.arange(pids).repeat_interleave(instances).repeat(2)
    modality = torch.tensor([VISIBLE, INFRARED]).repeat_interleave(size)
    named = {"targets": labels, "labels": labels, "modality": modality, "iteration": iteration}
    return {"images": images(2 * size), **named}


def cropped_literally(image, top, left, padding):
    result = torch.zeros_like(image)
    for row in range(H):
        for column in range(W):
            y, x = row + top - padding, column + left - padding
            if 0 <= y < H and 0 <= x < W:
                result[row, column] = image[y, x]
    return result


def test_padded_crop_is_the_literal_one():
    batch, offsets = images(5), np.array([[0, 0], [6, 6], [3, 3], [0, 5], [4, 1]])
    found = padded_crop(batch, offsets, 3)
    for image, (top, left), result in zip(batch, offsets, found, strict=True):
        assert torch.equal(result, cropped_literally(image, top, left, 3))
    assert torch.equal(found[2], batch[2])


def test_channels_take_the_place_of_all_three():
    batch = images(5).permute(0, 3, 1, 2).float()
    found = replace_channels(batch, np.array([0, 1, 2, GRAY, UNCHANGED]))
    for channel in range(3):
        assert torch.equal(found[channel], batch[channel, channel].expand(3, H, W))
    luma = sum(weight * batch[3, channel] for channel, weight in enumerate(LUMA))
    torch.testing.assert_close(found[3], luma.expand(3, H, W))
    assert torch.equal(found[4], batch[4])


def test_shares_of_the_channel_draws():
    count, rng = 40_000, np.random.default_rng(0)
    adapted = augmentation(adaptation=True).draw_channels(rng, count)
    shares = np.bincount(adapted, minlength=5) / count
    assert shares == pytest.approx([0.25, 0.25, 0.25, 0.125, 0.125], abs=0.01)
    exchanged = augmentation(two_views=True).second.draw_channels(rng, count)
    assert np.bincount(exchanged) / count == pytest.approx([1 / 3] * 3, abs=0.01)


def test_second_views_stand_between_the_first_and_the_infrared_images():
    batch = make_batch()
    result = augmentation(two_views=True).augment(batch)
    plain = batch["images"].permute(0, 3, 1, 2).float()
    assert torch.equal(result["images"][:6], plain[:6])
    assert torch.equal(result["images"][12:], plain[6:])
    second = result["images"][6:12]
    assert torch.equal(second, second[:, :1].expand(-1, 3, -1, -1))
    for image, source in zip(second, plain[:6], strict=True):
        assert any(torch.equal(image[0], channel) for channel in source)
    assert result["modality"].tolist() == [VISIBLE] * 12 + [INFRARED] * 6
    for name in ("targets", "labels"):
        assert result[name].tolist() == [0, 0, 0, 1, 1, 1] * 3


def test_both_views_have_draws_of_their_own():
    result = augmentation(padding=4, two_views=True).augment(make_batch(instances=8))
    first, second = result["images"][:16], result["images"][16:32]
    borders = [[(image == 0).all(0) for image in view] for view in (first, second)]
    assert sum(a.equal(b) for a, b in zip(*borders, strict=True)) < 8


def peers_cfg(**overrides):
    keys = {"MODEL.DEVICE": "cpu", "PLUGINS": '("wrimnet.peers",)', **overrides}
    keys["INPUT.AUGMENTATION"] = "build_channel_augmentation"
    return setup_cfg("", (), [f"{name}={value}" for name, value in keys.items()])


def test_switched_off_it_is_the_default_augmentation():
    batch, cfg = make_batch(), peers_cfg(**{"INPUT.CHANNELS.PADDING": 0})
    expected = build_augmentation(setup_cfg("", (), ["MODEL.DEVICE=cpu"])).augment(batch)
    assert torch.equal(build_augmentation(cfg).augment(batch)["images"], expected["images"])


def test_draws_belong_to_the_rows_of_the_whole_batch():
    batch, options = make_batch(pids=4), {"padding": 3, "adaptation": True}
    whole = augmentation(**options).augment(batch)["images"]
    for rank in range(2):
        rows = torch.tensor([*range(6 * rank, 6 * rank + 6), *range(12 + 6 * rank, 18 + 6 * rank)])
        share = {name: value[rows] for name, value in batch.items() if name != "iteration"}
        found = augmentation(**options, rank=rank, world_size=2).augment({**share, "iteration": 4})
        assert torch.equal(found["images"], whole[rows])


def test_second_view_has_every_label_of_the_first():
    rows = torch.arange(12)
    batch = make_batch() | {"camids": rows, "attached": {"text": [str(row) for row in range(12)]}}
    result = augmentation(two_views=True).augment(batch)
    expected = [*range(6), *range(12)]
    assert result["camids"].tolist() == expected
    assert result["attached"]["text"] == [str(row) for row in expected]


def test_two_views_in_halves_are_refused():
    words = {"INPUT.CHANNELS.TWO_VIEWS": True, "SOLVER.ACCUMULATION_STEPS": 2}
    with pytest.raises(ValueError, match="ACCUMULATION_STEPS = 2 cuts batches that are half visib"):
        peers_cfg(**words)


def test_two_views_in_several_processes_are_refused(monkeypatch):
    cfg = peers_cfg(**{"INPUT.CHANNELS.TWO_VIEWS": True})
    monkeypatch.setattr("fastreid.utils.comm.get_world_size", lambda: 2)
    with pytest.raises(ValueError, match=r"2 processes: INPUT.CHANNELS.TWO_VIEWS .*without torchr"):
        build_augmentation(cfg)


def test_an_unknown_augmentation_is_a_sentence():
    with pytest.raises(ValueError, match=r"INPUT\.AUGMENTATION = 'nothing': expected one of"):
        setup_cfg("", (), ["MODEL.DEVICE=cpu", "INPUT.AUGMENTATION=nothing"])
