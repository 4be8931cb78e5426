"""A file is what it was or what it shall be, never half of it."""

import errno
import os

import pytest

from wrimnet.atomic_files import is_utf8, sole_writer, write_file, write_text
from wrimnet.console import open_log
from wrimnet.data.cache_file import CacheFile
from wrimnet.run_folder import find_results, read_json, read_metrics


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


@pytest.mark.parametrize("hidden", [False, True], ids=["by the disk", "by torch.save"])
def test_disk_that_is_full_is_named_with_the_file(tmp_path, hidden):
    def fail(_):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            if hidden:
                raise RuntimeError("unexpected pos 64 vs 0")  # noqa: B904  as torch does
            raise

    with pytest.raises(OSError, match=rf"^cannot write {tmp_path}/f: No space left on device; go"):
        write_file(tmp_path / "f", fail, advice="go elsewhere")
    with pytest.raises(OSError, match=rf"^cannot write {tmp_path}/nowhere/f: No such file or dir"):
        write_text(tmp_path / "nowhere" / "f", "")


def test_pipe_is_refused_where_a_file_is_expected(tmp_path):
    """Opening one would wait for its other end for ever; so would a device."""
    uses = {
        "f": lambda path: write_text(path, "a"),
        ".lock": lambda path: sole_writer(path.parent, "").__enter__(),
        "results.json": lambda path: find_results(path.parent),
        "metrics.jsonl": lambda path: read_metrics(path.parent),
        "a.json": read_json,
        "a.cache": CacheFile,
        "log.txt": open_log,
    }
    for name, use in uses.items():
        os.mkfifo(tmp_path / name)
        with pytest.raises(OSError, match=f"{name} is not a regular file; move it away"):
            use(tmp_path / name)


def test_name_of_bytes_that_are_no_utf8_is_known():
    assert is_utf8("größe.jpg") and not is_utf8(os.fsdecode(b"gr\xf6.jpg"))
