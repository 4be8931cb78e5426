from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from reference.classic_augmentation import ClassicAugmentation, cut_and_resize, erase, grayscale

from wrimnet.data.augmentation import (
    AugmentationDraw,
    AugmentationSettings,
    BatchAugmentation,
    apply_augmentation,
    draw_augmentation,
)
from wrimnet.data.augmentation_list import build_augmentation
from wrimnet.modality import INFRARED, VISIBLE

FILL = (123.675, 116.28, 103.53)
PAPER = AugmentationSettings(
    scales=(1.0, 0.875, 0.75),
    flip_prob=0.5,
    erase_prob=0.5,
    erase_area=(0.02, 0.4),
    erase_aspect=(0.3, 3.3),
    grayscale_prob=0.5,
)
OFF = replace(PAPER, scales=(1.0,), flip_prob=0.0, erase_prob=0.0, grayscale_prob=0.0)
H, W = 48, 24


def images(count, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 12, 6, 3), dtype=np.uint8)
    resized = [np.array(Image.fromarray(one).resize((W, H), Image.BICUBIC)) for one in coarse]
    return torch.from_numpy(np.stack(resized))


def modality(count):
    return torch.tensor([VISIBLE] * (count // 2) + [INFRARED] * (count - count // 2))


def augmentation(settings=PAPER, seed=3, **options):
    return BatchAugmentation(settings=settings, fill=FILL, seed=seed, **options)


def literal(image, window, flipped, erased, gray):
    """One sample in floating point, PIL's resize channel by channel."""
    channels = [Image.fromarray(image[..., c].numpy().astype(np.float32)) for c in range(3)]
    pixels = np.stack([cut_and_resize(one, tuple(map(int, window))) for one in channels], axis=2)
    pixels = pixels[:, ::-1] if flipped else pixels
    pixels = erase(pixels, tuple(map(int, erased)) if erased[2] else None, FILL)
    return (grayscale(pixels) if gray else pixels).transpose(2, 0, 1)


def test_equals_the_literal_definition_sample_by_sample():
    batch = images(40)
    draw = augmentation().draw(modality(40).numpy(), H, W, 5)
    expected = [
        literal(*row)
        for row in zip(batch, draw.windows, draw.flipped, draw.erased, draw.grayscale, strict=True)
    ]
    result = augmentation()(batch, modality(40), 5)
    torch.testing.assert_close(
        result, torch.from_numpy(np.stack(expected)).float(), atol=2e-3, rtol=0
    )


def test_off_is_the_identity():
    batch = images(6)
    result = augmentation(OFF)(batch, modality(6), 0)
    assert torch.equal(result, batch.permute(0, 3, 1, 2).float())


def test_whole_window_and_flip_are_exact():
    batch = images(6)
    result = augmentation(replace(OFF, flip_prob=1.0))(batch, modality(6), 0)
    assert torch.equal(result, batch.permute(0, 3, 1, 2).float().flip(3))


def test_result_is_float32_channels_last_and_input_unchanged():
    batch = images(10)
    before = batch.clone()
    result = augmentation()(batch, modality(10), 0)
    assert result.dtype == torch.float32 and result.shape == (10, 3, H, W)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, before)
    assert result.min() >= 0 and result.max() <= 255


def test_same_iteration_same_result():
    batch = images(20)
    first = augmentation()(batch, modality(20), 9)
    assert torch.equal(first, augmentation()(batch, modality(20), 9))
    assert not torch.equal(first, augmentation()(batch, modality(20), 10))
    assert not torch.equal(first, augmentation(seed=4)(batch, modality(20), 9))


def test_result_of_an_earlier_call_is_reused():
    batch = images(20)
    earlier = augmentation()(batch, modality(20), 0)
    result = augmentation()(batch, modality(20), 1, out=earlier)
    assert result.data_ptr() == earlier.data_ptr()
    assert torch.equal(result, augmentation()(batch, modality(20), 1))
    with pytest.raises(ValueError, match="expected float32, channels last"):
        augmentation()(batch, modality(20), 1, out=torch.empty(20, 3, H, W))


def test_global_random_state_is_neither_used_nor_changed():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    augmentation()(images(4), modality(4), 0)
    assert torch.equal(before, torch.get_rng_state())


def test_processes_together_draw_what_one_would_draw():
    kinds = modality(12).numpy()
    whole = augmentation().draw(kinds, H, W, 2)
    parts = [
        augmentation(rank=rank, world_size=3).draw(modality(4).numpy(), H, W, 2)
        for rank in range(3)
    ]
    for name in ("windows", "flipped", "erased", "grayscale"):
        joined = [getattr(part, name).reshape(2, 2, -1) for part in parts]
        expected = getattr(whole, name).reshape(2, 6, -1)
        assert (np.concatenate(joined, axis=1) == expected).all()


def test_only_visible_images_become_grayscale():
    batch = images(200)
    result = augmentation(replace(OFF, grayscale_prob=1.0))(batch, modality(200), 0)
    assert torch.equal(result[100:], batch[100:].permute(0, 3, 1, 2).float())
    red, green, blue = batch[:100].float().unbind(3)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    torch.testing.assert_close(result[:100], luma[:, None].expand(-1, 3, -1, -1))
    assert torch.equal(result[:100, 0], result[:100, 2])


def test_erased_rectangles_hold_the_pixel_mean_in_both_modalities():
    batch = images(40)
    eraser = augmentation(replace(OFF, erase_prob=1.0))
    draw = eraser.draw(modality(40).numpy(), H, W, 0)
    result = eraser(batch, modality(40), 0)
    untouched = batch.permute(0, 3, 1, 2).float()
    for row, (top, left, height, width) in enumerate(draw.erased):
        assert height > 0 and top + height <= H and left + width <= W
        inside = torch.zeros(H, W, dtype=torch.bool)
        inside[top : top + height, left : left + width] = True
        for channel in range(3):
            assert (result[row, channel][inside] == torch.tensor(FILL[channel])).all()
            assert torch.equal(result[row, channel][~inside], untouched[row, channel][~inside])


def classic_draws(count, seed=0):
    classic = ClassicAugmentation(
        settings=PAPER, height=384, width=144, interpolation="bicubic", fill=FILL
    )
    rng = np.random.default_rng(seed)
    windows = np.array([classic.draw_window(rng) for _ in range(count)])
    erased = np.array([classic.draw_erasing(rng) or (0, 0, 0, 0) for _ in range(count)])
    return windows, erased


def test_draws_have_the_statistics_of_the_classic_path():
    count = 12000
    draw = draw_augmentation(np.random.default_rng(1), count, 384, 144, PAPER)
    windows, erased = classic_draws(count)
    for height in (384, 336, 288):
        assert abs((draw.windows[:, 2] == height).mean() - 1 / 3) < 0.015
        for column in (0, 1):
            ours = draw.windows[draw.windows[:, 2] == height, column]
            theirs = windows[windows[:, 2] == height, column]
            assert ours.min() == theirs.min() and ours.max() == theirs.max()
            assert abs(ours.mean() - theirs.mean()) < 2.0
    assert (draw.windows[:, 3] * 384 == draw.windows[:, 2] * 144).all()
    assert abs(draw.flipped.mean() - 0.5) < 0.015
    assert abs(draw.grayscale.mean() - 0.5) < 0.015
    assert abs((draw.erased[:, 2] > 0).mean() - 0.5) < 0.015
    ours, theirs = (rows[rows[:, 2] > 0].astype(float) for rows in (draw.erased, erased))
    assert np.abs(ours.mean(axis=0) / theirs.mean(axis=0) - 1).max() < 0.04
    assert np.abs(ours.std(axis=0) / theirs.std(axis=0) - 1).max() < 0.05
    share = ours[:, 2] * ours[:, 3] / (384 * 144)
    assert share.min() > 0.019 and share.max() < 0.405


@pytest.mark.parametrize("kind", [VISIBLE, INFRARED])
def test_pixels_have_the_statistics_of_the_classic_path(kind):
    count = 3000
    batch = images(count)
    ours = augmentation()(batch, torch.full((count,), kind), 0).double()
    classic = ClassicAugmentation(
        settings=PAPER, height=H, width=W, interpolation="bicubic", fill=FILL
    )
    rng = np.random.default_rng(0)
    theirs = [classic.augment(Image.fromarray(one.numpy()), kind, rng) for one in batch]
    theirs = torch.from_numpy(np.stack(theirs)).double()
    assert (ours.mean((0, 2, 3)) - theirs.mean((0, 2, 3))).abs().max() < 2.0
    assert (ours.std((0, 2, 3)) - theirs.std((0, 2, 3))).abs().max() < 2.0
    colorful = [(x[:, 0] - x[:, 2]).abs().mean().item() for x in (ours, theirs)]
    assert colorful[0] == pytest.approx(colorful[1], rel=0.08)


@pytest.mark.parametrize("height, width", [(7, 5), (1, 1), (96, 36)])
def test_any_size(height, width):
    batch = torch.randint(0, 256, (9, height, width, 3), dtype=torch.uint8)
    result = augmentation()(batch, modality(9), 0)
    assert result.shape == (9, 3, height, width) and result.isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_gpu_equals_cpu():
    batch = images(64)
    on_cpu = augmentation()(batch, modality(64), 1)
    on_gpu = augmentation()(batch.cuda(), modality(64), 1)
    assert on_gpu.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"scales": ()}, "SCALES is .*expected one or more"),
        ({"scales": (1.2,)}, "SCALES is .*above 0 and at most 1"),
        ({"flip_prob": 1.5}, "flip_prob is 1.5"),
        ({"erase_area": (0.4, 0.02)}, "INPUT.REA.AREA is"),
        ({"erase_aspect": (0.0, 1.0)}, "INPUT.REA.ASPECT is"),
    ],
)
def test_impossible_settings(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PAPER, **change)


def test_rows_select_samples():
    draw = AugmentationDraw(np.eye(4), np.arange(4), np.eye(4) * 2, np.arange(4) > 1)
    chosen = draw.rows(np.array([2, 0]))
    assert chosen.flipped.tolist() == [2, 0] and chosen.grayscale.tolist() == [True, False]
    assert len(chosen.windows) == len(chosen.erased) == 2


def test_keys_reach_the_settings():
    from wrimnet.config import get_cfg

    cfg = get_cfg()
    assert build_augmentation(cfg).settings == PAPER
    assert build_augmentation(cfg).fill == pytest.approx(FILL)
    for name in ("MULTISCALE_CROP", "FLIP", "REA", "GRAYSCALE"):
        cfg.INPUT[name].ENABLED = False
    batch = images(4)
    result = build_augmentation(cfg)(batch, modality(4), 0)
    assert torch.equal(result, apply_augmentation(batch, _nothing(4), FILL))


def _nothing(count):
    windows = np.tile([0, 0, H, W], (count, 1))
    no = np.zeros(count, dtype=bool)
    return AugmentationDraw(windows, no, np.zeros((count, 4), dtype=np.int64), no)
