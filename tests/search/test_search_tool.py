"""What the search's command line refuses, and how a query's row of the sheet is named."""

import pytest
from PIL import Image, ImageChops
from search import build_parser, sheet_row

from wrimnet.visualization.ranked_lists import QUERY, RankedList, Tile, draw_ranked_lists


@pytest.mark.parametrize(
    ("flag", "file", "problem"),
    [
        ("--json", ".", "'.' is a folder; give a file to be written"),
        ("--json", "nowhere/found.json", "lies in nowhere, which is no folder"),
        ("--sheet", "found.txt", "'found.txt' ends in '.txt'; give .png or .jpg"),
    ],
)
def test_files_that_cannot_be_written_are_refused_at_once(tmp_path, monkeypatch, capsys, flag,
                                                          file, problem):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        build_parser().parse_args(["query", "--images", "a", "--index", "b", flag, file])
    assert problem in capsys.readouterr().err


def test_a_row_of_the_sheet_is_named_after_its_query():
    paths = ("found/0007.jpg", "found/0003_c02_night_0013.jpg")
    results = [{"rank": 1, "similarity": 0.5, "path": path} for path in paths]
    row = sheet_row({"query": "asked/0003_c02_night_0012.jpg", "results": results})
    assert row.label == "0003_c02_night_0012"
    assert [tile.caption for tile in row.ranked] == ["1: 0.500\n0007", "1: 0.500\n…2_night_0013"]


def test_long_names_stand_clear_of_the_pictures(tmp_path):
    Image.new("RGB", (8, 16)).save(tmp_path / "a.png")
    tile = Tile(str(tmp_path / "a.png"), QUERY, "query")
    short, long = (
        draw_ranked_lists("t", [RankedList(name, tile, [tile] * 4)]) for name in ("a", "name" * 10)
    )
    added = long.width - short.width
    assert added > 100
    moved = ImageChops.difference(
        long.crop((added, 52, *long.size)), short.crop((0, 52, *short.size))
    )
    pictures = moved.crop((100, 0, *moved.size))
    assert pictures.getbbox() is None  # no name reaches into them
