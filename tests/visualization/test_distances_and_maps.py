"""The numbers behind the figures, and the maps laid over images."""

import numpy as np
import pytest

from wrimnet.visualization.drawing import enlarge_map, gray_image, smooth_map
from wrimnet.visualization.embeddings import count_distances, map_to_plane


def unit_rows(count, dim=6, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_histogram_counts_every_cross_modality_pair_once():
    embeddings, pids = unit_rows(9), np.array([1, 1, 2, 2, 3, 1, 2, 3, 3])
    modality = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])
    found = count_distances(embeddings, pids, modality, num_bins=7)
    pairs = [(i, j) for i in range(9) for j in range(9) if modality[i] == 0 and modality[j] == 1]
    for shares, number, wanted in (
        (found.same, found.num_same, True),
        (found.different, found.num_different, False),
    ):
        dist = [1 - embeddings[i] @ embeddings[j] for i, j in pairs if
                (pids[i] == pids[j]) == wanted]  # fmt: skip
        assert number == len(dist)
        counts = np.histogram(np.clip(dist, found.edges[0], found.edges[-1]), found.edges)[0]
        np.testing.assert_allclose(shares * number, counts)


def test_overlap_is_zero_for_separated_and_one_for_equal_distances():
    modality = np.array([0, 0, 1, 1])
    separated = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    assert count_distances(separated, np.array([1, 2, 1, 2]), modality).overlap == 0
    alike = np.tile(np.array([[1.0, 0.0]], np.float32), (4, 1))
    assert count_distances(alike, np.array([1, 2, 1, 2]), modality).overlap == 1


def test_histogram_needs_both_modalities_and_both_kinds_of_pairs():
    with pytest.raises(ValueError, match="need images of both; one has none"):
        count_distances(unit_rows(3), np.array([1, 2, 3]), np.zeros(3))
    with pytest.raises(ValueError, match="2 pairs of one identity and 0 of two"):
        count_distances(unit_rows(3), np.array([1, 1, 1]), np.array([0, 0, 1]))


def test_plane_keeps_groups_apart_and_repeats_itself():
    centers = np.eye(6, dtype=np.float32)[[0] * 8 + [3] * 8]
    embeddings = centers + 0.01 * unit_rows(16)
    plane = map_to_plane(embeddings, seed=0)
    assert plane.shape == (16, 2)
    gap = np.linalg.norm(plane[:8].mean(0) - plane[8:].mean(0))
    assert gap > 2 * max(plane[:8].std(), plane[8:].std())
    np.testing.assert_array_equal(map_to_plane(embeddings, seed=0), plane)


def test_plane_of_three_points_is_refused():
    with pytest.raises(ValueError, match="t-SNE of 3 embeddings"):
        map_to_plane(unit_rows(3), seed=0)


def test_a_map_covers_the_image_the_right_way_up():
    values = np.arange(8.0).reshape(4, 2)  # grows downwards and to the right
    for enlarge in (enlarge_map, smooth_map):
        large = enlarge(values, 40, 10)
        assert large.shape == (40, 10)
        assert [large[0, 0], large[0, -1], large[-1, 0], large[-1, -1]] == [0, 1, 6, 7]
    assert (enlarge_map(values, 40, 10)[10:20, 5:] == 3).all()


def test_gray_image_keeps_brightness_and_loses_color():
    image = np.array([[[255, 0, 0], [255, 255, 255]]], np.uint8)
    np.testing.assert_array_equal(gray_image(image), [[[76] * 3, [255] * 3]])
