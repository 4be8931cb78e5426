"""What the search's command line refuses, and how a query's row of the sheet is named."""

import pytest

from search import build_parser, sheet_row


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
    results = [{"rank": 1, "similarity": 0.5, "path": "found/0007.jpg"}]
    row = sheet_row({"query": "asked/0003_c02_night_0012.jpg", "results": results})
    assert "".join(row.label.split("\n")) == "0003_c02_night_0012"
    assert max(map(len, row.label.split("\n"))) <= 12
    assert [tile.caption for tile in row.ranked] == ["1\n0.500"]
