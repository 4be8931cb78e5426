"""Figures show no structure that the values lack: shared, printed scales; flat maps are gray."""

import numpy as np

from wrimnet.visualization.embeddings import count_distances, draw_distance_histograms
from wrimnet.visualization.gates import GatedImage, draw_gate_maps
from wrimnet.visualization.similarity import ExplainedPair, draw_similarity_maps

PICTURE = np.zeros((24, 9, 3), np.uint8)


def test_gates_of_a_block_share_a_scale_and_flat_ones_are_gray():
    flat = 0.4923 + np.array([[0, 4e-4], [8e-4, 2e-4]])
    low, high = np.array([[0.2, 0.3]]), np.array([[0.7, 0.9]])
    rows = [
        GatedImage(PICTURE, name, {1: gate, 2: flat})
        for name, gate in {"a": low, "b": high}.items()
    ]
    figure = draw_gate_maps("title", rows, {1: "shared", 2: "shared"})
    grid = np.array(figure.axes[:6]).reshape(2, 3)
    assert [axes.images[-1].get_clim() for axes in grid[:, 1]] == [(0.2, 0.9)] * 2
    assert [axes.get_xlabel() for axes in grid[:, 1]] == ["0.2000 to 0.3000", "0.7000 to 0.9000"]
    for axes in grid[:, 2]:
        assert axes.get_xlabel() == "flat, 0.4923 to 0.4931"
        assert len(np.unique(axes.images[-1].get_array())) == 1
    assert len(figure.axes) == 6 + 1  # a color bar for the Block that has something to show


def test_similarity_maps_say_which_image_and_what_the_colors_mean():
    maps = [np.array([[0.0, value]]) for value in (0.1, -0.2, 0.3, 0.4)]
    pairs = [ExplainedPair("right", PICTURE, PICTURE, *maps[n : n + 2], 0.5) for n in (0, 2)]
    figure = draw_similarity_maps("title", [pairs])
    assert [axes.get_xlabel() for axes in figure.axes[:8]] == ["query", "gallery"] * 4
    limits = {axes.images[-1].get_clim() for n in (2, 3, 6, 7) for axes in [figure.axes[n]]}
    assert limits == {(-0.4, 0.4)}
    assert figure.axes[8].get_xlabel().endswith("red raises it, blue lowers it")


def test_distance_histograms_share_their_axis_of_distances():
    modality, pids = np.arange(8) % 2, np.arange(8) // 4
    panels = {}
    for name, spread in (("before", 0.01), ("after", 1.0)):
        rows = 1 + spread * np.random.default_rng(0).standard_normal((8, 4))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        panels[name] = count_distances(rows, pids, modality)
    before, after = draw_distance_histograms("title", panels).axes
    assert before.get_xlim() == after.get_xlim()
    assert before.get_ylabel() != after.get_ylabel()  # each says the width of its bins
