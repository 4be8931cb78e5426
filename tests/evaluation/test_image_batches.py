"""Test images arrive in batches of one modality; a bad or stalled file is an error naming it."""

import os
import time

import pytest
import torch
from PIL import Image

from wrimnet.data.images import UnreadableImageError
from wrimnet.evaluation import extraction as extraction_module
from wrimnet.evaluation.extraction import Extraction


@pytest.fixture
def paths(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(7)]
    for number, path in enumerate(paths):
        Image.new("RGB", (8, 16), (20 * number, 60, 90)).save(path)
    return [str(path) for path in paths]


class Recorder(torch.nn.Module):
    """Keeps the batches it is given; the embedding of an image is its first red value."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def embed_parts(self, images, modality):
        assert images.dtype == torch.uint8 and images.shape[1:] == (8, 4, 3)
        reds = images[:, 0, 0, 0].tolist()
        self.batches.append((modality, reds))
        return {"global": images[:, 0, 0, :1].float()}


def read(paths, modalities=(1, 0, 0, 1, 0, 0, 0), timeout=20.0):
    extraction = Extraction(
        height=8, width=4, interpolation="nearest", batch_size=3, num_workers=2, timeout=timeout
    )
    model = Recorder()
    return model.batches, extraction(model, paths, modalities)


def test_batches_come_in_order_with_their_rows(paths):
    batches, parts = read(paths)
    assert batches == [(0, [20, 40, 80]), (0, [100, 120]), (1, [0, 60])]
    assert parts["global"][:, 0].tolist() == [20 * row for row in range(7)]


def test_frozen_module_stays_so_and_the_others_go_on_training(paths):
    extraction = Extraction(height=8, width=4, interpolation="nearest", batch_size=3, num_workers=1)
    model = Recorder()
    model.frozen, model.other = torch.nn.Identity().eval(), torch.nn.Identity()
    extraction(model, paths, [0] * len(paths))
    assert [module.training for module in (model, model.frozen, model.other)] == [True, False, True]


def test_bad_image_is_named(paths):
    os.truncate(paths[3], 10)
    with pytest.raises(UnreadableImageError, match=r"3\.png"):
        read(paths)


def test_stalled_disk_is_named(paths):
    os.remove(paths[4])
    os.mkfifo(paths[4])
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match=r"DATALOADER.TIMEOUT = 0.5 s: .*4\.png; check the disk"):
        read(paths, timeout=0.5)
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("cuda:1", True)])
def test_images_for_a_gpu_are_read_into_pinned_memory(paths, monkeypatch, device, pinned):
    asked = []
    monkeypatch.setattr(
        extraction_module,
        "host_buffer",
        lambda shape, pin: asked.append((shape, pin)) or torch.zeros(shape, dtype=torch.uint8),
    )
    extraction = Extraction(
        height=8, width=4, interpolation="nearest", batch_size=7, num_workers=1, device=device
    )
    ((rows, batch),) = extraction._read_batches(paths, [0] * 7)
    assert asked == [((7, 8, 4, 3), pinned)]
    assert batch[:, 0, 0, 0].tolist() == [20 * row for row in rows]
