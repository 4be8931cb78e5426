"""A file is what it was or what it shall be, never half of it."""

import os

import pytest

from wrimnet.atomic_files import write_file


def test_file_holds_what_was_written(tmp_path):
    write_file(tmp_path / "f", lambda file: file.write(b"new"))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("f", b"new")]


def test_failing_write_leaves_the_earlier_file_and_nothing_beside_it(tmp_path):
    def fail(file):
        file.write(b"half")
        raise KeyError("no more")

    path = tmp_path / "f"
    path.write_bytes(b"old")
    with pytest.raises(KeyError, match="no more"):
        write_file(path, fail)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_content_reaches_the_disk_before_its_name_and_the_name_before_the_return(
    tmp_path, monkeypatch
):
    path, order = tmp_path / "f", []
    fsync = os.fsync

    def observe(descriptor):
        order.append(path.exists())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", observe)
    write_file(path, lambda file: file.write(b"new"))
    assert order == [False, True]
