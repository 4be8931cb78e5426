"""What the search's command line refuses, and how a query's row of the sheet is named."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops
from search import build_parser, sheet_row, warn_of_colors, warn_of_left_out
from thermal_frames import save_frame, thermal_frame

from wrimnet.lab.search.image_folder import FoundImages
from wrimnet.modality import INFRARED
from wrimnet.visualization.ranked_lists import QUERY, RankedList, Tile, draw_ranked_lists


@pytest.mark.parametrize(
    ("flag", "file", "problem"),
    [
        ("--json", ".", "'.' is a folder; give a file to be written"),
        ("--json", "nowhere/found.json", "lies in nowhere, which is not a folder"),
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
    row = sheet_row({"query": "asked/0003_c02_night_0012.jpg", "results": results}, (1, 0))
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


def test_colors_are_looked_for_in_every_query(tmp_path, capsys):
    for name, color in (("a", (9, 9, 9)), ("b", (200, 60, 30)), ("c", (30, 90, 200))):
        Image.new("RGB", (8, 16), color).save(tmp_path / f"{name}.png")
    save_frame(tmp_path / "d.png", thermal_frame(0, "counts"))
    paths = [str(tmp_path / f"{name}.png") for name in "abcd"]
    warn_of_colors([paths[0], paths[3]], (7000, 8500))
    assert capsys.readouterr().err == ""
    warn_of_colors(paths, (7000, 8500))
    assert f"2 of 4 images that are embedded as infrared have colors, such as {paths[1]}" in (
        capsys.readouterr().err
    )


def test_what_is_left_out_of_a_folder_is_said(capsys):
    warn_of_left_out(FoundImages(["a.jpg"], Counter()))
    assert capsys.readouterr().err == ""
    warn_of_left_out(FoundImages(["a.jpg"], Counter({".heic": 2, "hidden": 1})))
    assert capsys.readouterr().err == (
        "left out of the folders: 2 .heic, 1 hidden; pip install pillow-heif to read .heic\n"
    )


def test_a_sheet_shows_infrared_frames_and_names_of_any_bytes(tmp_path):
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"caf\xe9.png"))
    save_frame(Path(path), thermal_frame(0, "centikelvin"))
    result = {"rank": 1, "similarity": 0.5, "path": path}
    row = sheet_row({"query": path, "results": [result]}, (INFRARED, INFRARED))
    sheet = draw_ranked_lists("t", [row], (28800, 31300))
    assert np.asarray(sheet).std() > 20
