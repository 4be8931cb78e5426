"""What the report shows of a model: the numbers and maps of the figures, in the page's form."""

import numpy as np
import pytest

from wrimnet.layers.fusion import SigmoidGate
from wrimnet.visualization.figures import _gate_drawings, compare_distances, list_rankings
from wrimnet.visualization.gate_spread import Spread
from wrimnet.visualization.gates import OF_PAPER, GatedImage, MIIMName
from wrimnet.visualization.report_figures import (
    _gate_row,
    gate_chart,
    model_figures,
    ranked_figures,
)


@pytest.fixture(scope="module")
def figures(subject):
    return {figure.title: figure for figure in model_figures(subject)}


def test_every_protocol_has_its_ranked_lists(subject):
    found = ranked_figures(subject)
    assert [figure.title for figure in found] == [
        "infrared to visible (llcm_ir2vis)", "visible to infrared (llcm_vis2ir)",
    ]  # fmt: skip
    for figure, run in zip(found, subject.runs, strict=True):
        lists = list_rankings(subject, run)
        assert len(figure.sheet.rows) == len(lists)
        ranked = [len(row.tiles) for row in figure.sheet.rows]
        assert ranked == [1 + len(row.ranked) + len(row.removed) for row in lists]


def test_a_network_with_miims_has_four_figures(figures):
    assert list(figures) == [
        "Gates of the MIIMs", "Regions that make a pair similar",
        "Test embeddings in the plane", "Distances between the modalities",
    ]  # fmt: skip


def test_gates_show_the_image_and_a_map_per_block():
    image = np.full((24, 9, 3), 90, np.uint8)
    gates = {1: np.array([[0.2, 0.7]]), 2: np.array([[0.5, 0.5002]])}
    row = _gate_row(
        GatedImage(image, "id 1\nvisible", gates),
        {1: (0.2, 0.9), 2: (0.5, 0.6)},
        {1: "separate", 2: "shared"},
    )
    assert row.label == "id 1, visible"
    assert [tile.lines for tile in row.tiles] == [
        ["image"],
        ["Block 1, separate", "0.2000 to 0.7000"],
        ["Block 2, shared", "flat, 0.5000 to 0.5002"],
    ]


def test_mean_gate_by_block_with_the_parts_of_its_variance():
    spreads = {
        MIIMName(2, "visible"): Spread(0.6, channels=0.03, images=0.01, positions=0.0),
        MIIMName(1, "visible"): Spread(0.5, channels=0.0, images=0.0, positions=0.0),
        MIIMName(3, "shared"): Spread(0.4, channels=0.0, images=0.0, positions=0.04),
    }
    visible, shared = gate_chart(spreads, OF_PAPER).series
    assert (visible.name, visible.x, visible.y) == ("visible", [1, 2], [0.5, 0.6])
    assert visible.notes == [
        "std 0.0000", "std 0.2000, variance: 75 % channels, 25 % images, 0 % positions",
    ]  # fmt: skip
    assert (shared.x, shared.y) == ([3], [0.4])


def test_the_axis_ends_at_one_for_the_papers_gate_and_fits_the_values_of_others():
    of = {MIIMName(1, "shared"): Spread(1.8, channels=0.0, images=0.0, positions=0.0)}
    axes = [(c.y_label, c.top) for c in (gate_chart(of, name) for name in (OF_PAPER, "gate"))]
    assert axes == [("sigmoid(F5)", 1.0), ("gate", None)]


class DoubleGate(SigmoidGate):
    def gate(self, restored):
        return 2 * super().gate(restored)


@pytest.mark.parametrize(
    ("fusion", "name"),
    [(SigmoidGate(), "sigmoid(F5)"), (SigmoidGate(2.0), "gate"), (DoubleGate(), "gate")],
)
def test_captions_say_what_the_gates_are(subject, monkeypatch, fusion, name):
    monkeypatch.setitem(subject.trained.model.backbone.miims["3"]._modules, "fusion", fusion)
    captions = {key: caption for key, caption, _ in _gate_drawings(subject)}
    figure = next(model_figures(subject))
    assert f"multiplies its features with: {name}, mean" in captions["gates"]
    assert f"multiplies its features with: {name}, mean" in figure.caption
    assert figure.charts[0].y_label == name


def test_gates_of_the_model_are_summarized(figures):
    (chart,) = figures["Gates of the MIIMs"].charts
    assert {series.name: series.x for series in chart.series} == {
        "visible": [1, 2], "infrared": [1, 2], "shared": [3, 4],
    }  # fmt: skip
    assert all(0 < mean < 1 for series in chart.series for mean in series.y)


def test_regions_of_a_query_with_its_right_and_wrong_neighbor(figures):
    for row in figures["Regions that make a pair similar"].sheet.rows:
        words = [tile.lines[0] for tile in row.tiles]
        regions = ["query, regions", "gallery, regions"]
        assert words == ["query", "nearest right", *regions, "nearest wrong", *regions]


def test_plane_has_a_point_per_image(figures, subject):
    before, after = figures["Test embeddings in the plane"].maps
    assert len(before.x) == len(after.y) == len(before.names) == len(before.colors)
    assert set(before.symbols) == {"circle", "triangle"}
    assert (before.title, after.title) == ("Before training", "After training")


def test_histograms_are_in_percent_on_a_common_axis(figures, subject):
    before, after = figures["Distances between the modalities"].charts
    assert (before.start, before.end) == (after.start, after.end)
    histogram = compare_distances(subject)["after training"]
    same, different = after.series
    np.testing.assert_allclose(sum(same.y), 100)
    np.testing.assert_allclose(different.y, 100 * histogram.different)
    assert same.name == f"same identity, {histogram.num_same:,} pairs"
