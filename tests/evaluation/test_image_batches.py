"""Test images arrive in order; a bad or stalled file is an error that names it."""

import os
import time

import pytest
import torch
from trees import save_image

from wrimnet.data.images import UnreadableImageError
from wrimnet.data.items import ImageItem
from wrimnet.data.reading import ImageReader
from wrimnet.evaluation.image_batches import read_batches


@pytest.fixture
def items(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(7)]
    for number, path in enumerate(paths):
        save_image(path, 20 * number)
    return [ImageItem(str(path), 1, 1, 0, path.name) for path in paths]


def read(items, batches, timeout=20.0):
    reader = ImageReader(items, height=8, width=4, interpolation="nearest", on_bad_image="error")
    return list(read_batches(reader, batches, num_workers=2, timeout=timeout))


def test_batches_come_in_order_with_their_rows(items):
    batches = [[6, 0], [1, 2, 3], [5]]
    found = read(items, batches)
    assert [rows for rows, _ in found] == batches
    for rows, images in found:
        assert images.dtype == torch.uint8 and images.shape == (len(rows), 8, 4, 3)
        assert images[:, 0, 0, 0].tolist() == [20 * row for row in rows]


def test_bad_image_is_named(items):
    os.truncate(items[3].path, 10)
    with pytest.raises(UnreadableImageError, match=r"3\.png"):
        read(items, [[0, 1], [2, 3], [4, 5]])


def test_stalled_disk_is_named(items):
    os.remove(items[4].path)
    os.mkfifo(items[4].path)
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match=r"DATALOADER.TIMEOUT = 0.5 s: .*4\.png; check the disk"):
        read(items, [[0, 1], [2, 3], [4, 5]], timeout=0.5)
    assert time.monotonic() - begin < 20
