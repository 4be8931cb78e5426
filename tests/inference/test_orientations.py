"""A phone's photographs: stored in any EXIF orientation, they embed alike."""

import numpy as np
import pytest
from turned_images import lying, save_turned

import wrimnet


@pytest.fixture(scope="module")
def embedder(finished_run):
    return wrimnet.load(finished_run.run, device="cpu")


@pytest.fixture(scope="module")
def photograph():
    """Bright above, dark below, red on the left: no two orientations look alike."""
    rows, columns = np.mgrid[0:1:96j, 0:1:48j]
    noise = np.random.default_rng(0).uniform(0, 0.2, (96, 48))
    scene = np.stack([1 - columns, 1 - rows, rows * columns], axis=-1) * 0.8 + noise[..., None]
    return (255 * scene).astype(np.uint8)


def test_all_eight_orientations_embed_alike(embedder, photograph, tmp_path):
    paths = [tmp_path / f"{orientation}.png" for orientation in range(1, 9)]
    for orientation, path in enumerate(paths, 1):
        save_turned(path, photograph, orientation)
    upright = embedder.embed(photograph, "visible")
    assert (embedder.embed(paths, "visible") @ upright > 0.999).all()


def test_the_network_sees_another_image_where_the_tag_is_missing(embedder, photograph):
    """Otherwise the test above could not fail."""
    stored = [lying(photograph, orientation) for orientation in range(2, 9)]
    upright = embedder.embed(photograph, "visible")
    cosine = embedder.embed(list(map(np.ascontiguousarray, stored)), "visible") @ upright
    assert (cosine < 0.995).all()
