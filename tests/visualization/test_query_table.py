"""The table of queries: which are shown, in which order, with which images."""

import csv

import pytest
from PIL import Image

import wrimnet.plugin  # noqa: F401  registers the datasets
from wrimnet.data.images import ImageItem
from wrimnet.data.protocols import find_protocol
from wrimnet.evaluation.evaluator import ProtocolRun
from wrimnet.evaluation.query_values import NEAREST_COLUMNS
from wrimnet.visualization.query_table import read_query_table, thumbnails

HEADER = ("trial", "query", "identity", "camera", "matches", "first_match", "AP", *NEAREST_COLUMNS)
RUN = ProtocolRun(find_protocol("llcm_ir2vis"), "agw", [])
ITEMS = {
    path: ImageItem("", pid, 1, 0, path)
    for path, pid in (("a", 1), ("b", 2), ("c", 3), ("g1", 1), ("g2", 2))
}


def write(folder, rows, header=HEADER):
    with open(folder / "queries_llcm_ir2vis.csv", "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def row_of(trial, query, identity, first, precision, *nearest):
    found = [*nearest, *[""] * (len(NEAREST_COLUMNS) - len(nearest))]
    return [trial, query, identity, 5, 1, first, precision, *found]


def test_worst_queries_of_the_first_trial_come_first(tmp_path):
    rows = [
        row_of(0, "a", 1, 1, 0.9, "g1", "g2"),
        row_of(0, "b", 2, 2, 0.4, "g1", "g2"),
        row_of(0, "c", 3, "", ""),
        row_of(1, "a", 1, 9, 0.1),
    ]
    write(tmp_path, rows)
    table = read_query_table(tmp_path, RUN, ITEMS, 2)
    assert [(row.query, row.first_match) for row in table.rows] == [("b", 2), ("a", 1)]
    assert table.rows[0].average_precision == pytest.approx(40)
    assert table.rows[0].nearest == [("g1", "wrong"), ("g2", "right")]
    assert "The 2 of 3 queries" in table.caption
    assert "1 queries without a match" in table.caption
    assert len(read_query_table(tmp_path, RUN, ITEMS, 1).rows) == 1


def test_every_image_has_one_picture(tmp_path):
    write(tmp_path, [row_of(0, "a", 1, 1, 0.9, "g1"), row_of(0, "b", 2, 2, 0.4, "g1")])
    table = read_query_table(tmp_path, RUN, ITEMS, 5)
    found = thumbnails([table, table], [*ITEMS.values()], lambda item: Image.new("RGB", (80, 200)))
    assert sorted(found) == ["a", "b", "g1"]
    assert all(url.startswith("data:image/webp;base64,") for url in found.values())


def test_a_file_without_average_precision_is_refused(tmp_path):
    write(tmp_path, [], header=("trial", "query"))
    with pytest.raises(ValueError, match=r"has no column AP; add mAP to TEST\.METRICS"):
        read_query_table(tmp_path, RUN, ITEMS, 5)
