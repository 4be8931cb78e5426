"""metrics.jsonl after a kill: half lines go, whole ones stay, damage is named."""

import json

import pytest

from wrimnet.run_folder import drop_metrics_after, read_metrics


def write(folder, *lines, end="\n"):
    (folder / "metrics.jsonl").write_text("\n".join(lines) + end)


def line(iteration):
    return json.dumps({"iteration": iteration, "total_loss": iteration / 3})


def test_half_written_last_line_is_left_out(tmp_path):
    write(tmp_path, line(1), line(3), '{"iteration": 5, "tot', end="")
    assert [entry["iteration"] for entry in read_metrics(tmp_path)] == [1, 3]


def test_lines_to_come_again_are_dropped_and_numbers_stay_bit_by_bit(tmp_path):
    write(tmp_path, line(1), line(3), line(5))
    drop_metrics_after(tmp_path, 3)
    assert (tmp_path / "metrics.jsonl").read_text() == line(1) + "\n" + line(3) + "\n"


def test_missing_file_stays_missing(tmp_path):
    drop_metrics_after(tmp_path, 0)
    assert not (tmp_path / "metrics.jsonl").exists()
    assert read_metrics(tmp_path) == []


@pytest.mark.parametrize("bad", ["{]", "[1, 2]", '{"total_loss": 1}', '{"iteration": "1"}'])
def test_damaged_line_is_named(tmp_path, bad):
    write(tmp_path, line(1), bad, line(5))
    with pytest.raises(ValueError, match=r"line 2 of .*metrics\.json"):
        read_metrics(tmp_path)
