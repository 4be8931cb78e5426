"""Figures: their titles, frames and files."""

import builtins
import itertools

import numpy as np
import pytest
from PIL import Image

from wrimnet.analysis.distance_histogram import count_distances, draw_distance_histograms
from wrimnet.analysis.embedding_map import draw_embedding_map
from wrimnet.analysis.figure_files import MatplotlibMissingError, new_figure, save_figure
from wrimnet.analysis.gate_maps import GatedImage, draw_gate_maps
from wrimnet.analysis.ranked_lists import (
    EXCLUDED,
    QUERY,
    RIGHT,
    WRONG,
    ListedImage,
    RankedList,
    draw_ranked_lists,
)
from wrimnet.analysis.similarity_maps import ExplainedPair, draw_similarity_maps

TITLE = "what\nWRIMNet-18x on LLCM (synthetic), infrared to visible"
PICTURE = np.zeros((24, 9, 3), np.uint8)


def listed(status):
    return ListedImage(PICTURE, status, status)


@pytest.fixture
def ranked():
    row = RankedList("best", listed(QUERY), [listed(RIGHT), listed(WRONG)], [listed(EXCLUDED)])
    return draw_ranked_lists(TITLE, [row, row._replace(removed=[])])


def test_ranked_lists_frame_right_wrong_and_removed(ranked):
    frames = [axes.spines["left"].get_edgecolor()[:3] for axes in ranked.axes]
    struck = [len(axes.lines) for axes in ranked.axes]
    assert len(frames) == 7
    red, green, grey = frames[2], frames[1], frames[3]
    assert green[1] > 2 * green[0]
    assert red[0] > 2 * red[1]
    assert max(grey) - min(grey) == 0
    assert struck == [0, 0, 0, 2, 0, 0, 0]


def test_tiles_lie_inside_the_figure_and_do_not_overlap(ranked):
    boxes = [axes.get_position() for axes in ranked.axes]
    assert all(b.x0 >= 0 and b.y0 >= 0 and b.x1 <= 1 and b.y1 <= 1 for b in boxes)
    first = sorted(boxes[:4], key=lambda box: box.x0)
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(first))


def test_same_figure_gives_the_same_bytes(ranked, tmp_path):
    first = save_figure(ranked, tmp_path / "a", "lists")
    second = save_figure(ranked, tmp_path / "b", "lists")
    assert [path.name for path in first] == ["lists.png", "lists.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert Image.open(first[0]).width > 500
    assert "Date" not in first[1].read_text()[:2000]


def test_every_figure_carries_its_title(ranked, tmp_path):
    rng = np.random.default_rng(0)
    points, pids, modality = rng.random((6, 2)), np.arange(6) % 3, np.arange(6) % 2
    rows = rng.standard_normal((6, 4)).astype(np.float32)
    histogram = count_distances(rows, np.arange(6) // 2, modality)
    gate = GatedImage(PICTURE, "id 1", {1: rng.random((6, 2)), 3: rng.random((2, 1))})
    pair = ExplainedPair("right", PICTURE, PICTURE, points, -points, 0.5)
    figures = [
        ranked,
        draw_embedding_map(TITLE, {"before": points, "after": points}, pids, modality),
        draw_distance_histograms(TITLE, {"before": histogram, "after": histogram}),
        draw_gate_maps(TITLE, [gate, gate], {1: "separate", 3: "shared"}),
        draw_similarity_maps(TITLE, [[pair, pair]]),
    ]
    assert [figure.get_suptitle() for figure in figures] == [TITLE] * 5
    save_figure(figures[3], tmp_path, "gates")
    assert [axes.get_title() for axes in figures[3].axes[:3]] == [
        "image",
        "Block 1\nseparate",
        "Block 3\nshared",
    ]
    assert [len(axes.images) for axes in figures[4].axes] == [1, 1, 2, 2] * 2


def test_figures_of_nothing_are_refused():
    with pytest.raises(ValueError, match="at least one query"):
        draw_ranked_lists(TITLE, [])
    with pytest.raises(ValueError, match="at least one image and a network with at least one MIIM"):
        draw_gate_maps(TITLE, [GatedImage(PICTURE, "", {})], {})
    with pytest.raises(ValueError, match="at least one pair"):
        draw_similarity_maps(TITLE, [])


def test_missing_matplotlib_is_said_in_a_sentence(monkeypatch):
    real = builtins.__import__

    def without_matplotlib(name, *rest, **options):
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError("No module named 'matplotlib'")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(MatplotlibMissingError, match=r"pip install 'wrimnet\[viz\]'"):
        new_figure(2, 2, "title")
