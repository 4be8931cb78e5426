"""metrics.json after a kill: half lines go, whole ones stay, damage is named."""

import json

import pytest

from wrimnet.engine.metrics_file import drop_lines_from, read_metrics


def write(path, *lines, end="\n"):
    path.write_text("\n".join(lines) + end)
    return path


def line(iteration):
    return json.dumps({"iteration": iteration, "total_loss": iteration / 3})


def test_half_written_last_line_is_left_out(tmp_path):
    path = write(tmp_path / "m.json", line(1), line(3), '{"iteration": 5, "tot', end="")
    assert [entry["iteration"] for entry in read_metrics(path)] == [1, 3]


def test_lines_to_come_again_are_dropped_and_numbers_stay_bit_by_bit(tmp_path):
    path = write(tmp_path / "m.json", line(1), line(3), line(5))
    drop_lines_from(path, 5)
    assert path.read_text() == line(1) + "\n" + line(3) + "\n"


def test_missing_file_stays_missing(tmp_path):
    drop_lines_from(tmp_path / "m.json", 0)
    assert not (tmp_path / "m.json").exists()


@pytest.mark.parametrize("bad", ["{]", "[1, 2]", '{"total_loss": 1}', '{"iteration": "1"}'])
def test_damaged_line_is_named(tmp_path, bad):
    path = write(tmp_path / "m.json", line(1), bad, line(5))
    with pytest.raises(ValueError, match=r"line 2 of .*m\.json"):
        read_metrics(path)
