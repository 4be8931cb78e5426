"""Figures: their titles, frames and files."""

import builtins
import itertools

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from wrimnet.visualization.drawing import (
    MatplotlibMissingError,
    add_to_tensorboard,
    new_figure,
    save_figure,
)
from wrimnet.visualization.embeddings import (
    count_distances,
    draw_distance_histograms,
    draw_embedding_map,
)
from wrimnet.visualization.gates import GatedImage, draw_gate_maps
from wrimnet.visualization.ranked_lists import (
    COLORS,
    EXCLUDED,
    QUERY,
    RIGHT,
    WRONG,
    RankedList,
    Tile,
    draw_ranked_lists,
)
from wrimnet.visualization.similarity import ExplainedPair, draw_similarity_maps

TITLE = "what\nWRIMNet-18x on LLCM (synthetic), infrared to visible"
PICTURE = np.zeros((24, 9, 3), np.uint8)
INSIDE = (200, 120, 60)  # of the ranked pictures


@pytest.fixture
def lists(tmp_path):
    path = str(tmp_path / "a.png")
    Image.new("RGB", (9, 24), INSIDE).save(path)
    query, right, wrong, removed = (
        Tile(path, status, status) for status in (QUERY, RIGHT, WRONG, EXCLUDED)
    )
    row = RankedList("best", query, [right, wrong], [removed])
    return [row, row._replace(removed=[])]


@pytest.fixture
def ranked(lists):
    return draw_ranked_lists(TITLE, lists)


def tiles_of(sheet, status):
    """Where frames of a color lie, (top, bottom, left, right) each."""
    mask = (np.asarray(sheet) == COLORS[status]).all(axis=2)
    marks, _ = ndimage.label(mask, np.ones((3, 3)))
    found = [(y.start, y.stop, x.start, x.stop) for y, x in ndimage.find_objects(marks)]
    return [place for place in found if place[1] - place[0] > 100]


def test_ranked_lists_frame_right_wrong_and_removed(ranked):
    counts = {status: len(tiles_of(ranked, status)) for status in (QUERY, RIGHT, WRONG)}
    assert counts == {QUERY: 2, RIGHT: 2, WRONG: 2}
    second_row = max(tiles_of(ranked, QUERY))[0]
    assert all(top < second_row for top, *_ in tiles_of(ranked, EXCLUDED))
    green, red, gray = COLORS[RIGHT], COLORS[WRONG], COLORS[EXCLUDED]
    assert green[1] > 2 * green[0]
    assert red[0] > 2 * red[1]
    assert max(gray) - min(gray) == 0
    for status in (QUERY, RIGHT, WRONG, EXCLUDED):
        top, bottom, left, right = first_tile(ranked, status)
        inside = np.asarray(ranked)[top + 5 : bottom - 5, left + 5 : right - 5]
        whole = (inside == INSIDE).all(axis=2)
        assert whole.all() != (status == EXCLUDED)
        assert whole.mean() > 0.8


def first_tile(sheet, status):
    """The frame of a status in the first row, whole even where a line strikes it out."""
    second_row = max(tiles_of(sheet, QUERY))[0]
    row = [place for place in tiles_of(sheet, status) if place[0] < second_row]
    tops, bottoms, lefts, rights = zip(*row, strict=True)
    return min(tops), max(bottoms), min(lefts), max(rights)


def test_tiles_lie_inside_the_figure_and_do_not_overlap(ranked):
    places = [first_tile(ranked, status) for status in (QUERY, RIGHT, WRONG, EXCLUDED)]
    sizes = {(bottom - top, right - left) for top, bottom, left, right in places}
    assert len(sizes) == 1  # none is cut off at the edge
    assert all(one[3] < other[2] for one, other in itertools.pairwise(places))
    below = [place for place in tiles_of(ranked, QUERY) if place[0] > places[0][0]]
    assert places[0][1] < below[0][0] and below[0][1] < ranked.height


def test_same_figure_gives_the_same_bytes(lists, tmp_path):
    for number in "ab":
        save_figure(draw_ranked_lists(TITLE, lists), tmp_path / number, "lists")
        gate = GatedImage(PICTURE, "id 1", {1: np.ones((2, 1))})
        save_figure(draw_gate_maps(TITLE, [gate], {1: "shared"}), tmp_path / number, "gates")
    first, second = (sorted((tmp_path / number).iterdir()) for number in "ab")
    assert [path.name for path in first] == ["gates.png", "gates.svg", "lists.png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert Image.open(first[2]).width > 500
    assert "Date" not in first[1].read_text()[:2000]


def test_every_figure_carries_its_title(ranked, lists, tmp_path):
    rng = np.random.default_rng(0)
    points, pids, modality = rng.random((6, 2)), np.arange(6) % 3, np.arange(6) % 2
    rows = rng.standard_normal((6, 4)).astype(np.float32)
    histogram = count_distances(rows, np.arange(6) // 2, modality)
    gate = GatedImage(PICTURE, "id 1", {1: rng.random((6, 2)), 3: rng.random((2, 1))})
    pair = ExplainedPair("right", PICTURE, PICTURE, points, -points, 0.5)
    figures = [
        draw_embedding_map(TITLE, {"before": points, "after": points}, pids, modality),
        draw_distance_histograms(TITLE, {"before": histogram, "after": histogram}),
        draw_gate_maps(TITLE, [gate, gate], {1: "separate", 3: "shared"}),
        draw_similarity_maps(TITLE, [[pair, pair]]),
    ]
    assert [figure.get_suptitle() for figure in figures] == [TITLE] * 4
    save_figure(figures[2], tmp_path, "gates")
    assert [axes.get_title() for axes in figures[2].axes[:3]] == [
        "image",
        "Block 1\nseparate",
        "Block 3\nshared",
    ]
    assert [len(axes.images) for axes in figures[3].axes] == [1, 1, 2, 2] * 2 + [0]
    top = first_tile(ranked, QUERY)[0]
    untitled = draw_ranked_lists("", lists).crop((0, 0, 500, top))
    assert untitled.getextrema() == ((255, 255),) * 3
    for lines in (ranked.crop((0, 0, 500, top // 2)), ranked.crop((0, top // 2, 500, top))):
        assert lines.getextrema() == ((0, 255),) * 3  # both lines of the title are there


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


def test_pictures_stand_beside_the_curves_of_a_run_that_has_them(tmp_path):
    Image.new("RGB", (4, 3), "red").save(tmp_path / "ranked.png")
    add_to_tensorboard(tmp_path, {"ranked": tmp_path / "ranked.png"})
    assert [path.name for path in tmp_path.iterdir()] == ["ranked.png"]
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("loss/total_loss", 2.0, 7)
    add_to_tensorboard(tmp_path, {"ranked": tmp_path / "ranked.png"})
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    (picture,) = events.Images("figures/ranked")
    assert (picture.width, picture.height) == (4, 3)
    assert events.Scalars("loss/total_loss")[0].step == 7
