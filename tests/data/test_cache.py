import fcntl
import importlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from damaged_jpegs import noise_jpeg, overwritten
from PIL import Image

from wrimnet.data import cache
from wrimnet.data.cache import open_cache
from wrimnet.data.cache_file import CacheFile, DamagedCacheError, cache_key
from wrimnet.data.images import ImageItem, UnreadableImageError, read_rgb, resize_rgb

H, W = 32, 16


@pytest.fixture
def items(tmp_path):
    rng = np.random.default_rng(0)
    made = []
    for number in range(12):
        path = tmp_path / "data" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (50, 20, 3), dtype=np.uint8)).save(path)
        made.append(ImageItem(str(path), number // 4, 1, number % 2, path.name))
    return made


def key_of(items, **changes):
    options = {
        "dataset": "Drawn",
        "height": H,
        "width": W,
        "interpolation": "bicubic",
        "on_bad_image": "error",
    }
    return cache_key(items, **{**options, **changes})


def opened(items, folder, num_processes=2, timeout=30.0, **changes):
    return open_cache(
        key_of(items, **changes), items, folder, num_processes=num_processes, timeout=timeout
    )


def content(cache):
    images = np.empty(cache.shape, dtype=np.uint8)
    for index, place in enumerate(images):
        cache.read_into(index, place)
    return images


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_bit_identical_to_the_classic_resize(items, tmp_path):
    for interpolation in ("bicubic", "bilinear"):
        cache = opened(items, tmp_path / "cache", interpolation=interpolation)
        expected = [resize_rgb(read_rgb(item.path), H, W, interpolation) for item in items]
        assert (content(cache) == np.stack(expected)).all()


def test_second_opening_builds_nothing(items, tmp_path, monkeypatch):
    opened(items, tmp_path / "cache")
    monkeypatch.setattr("wrimnet.data.cache.build_cache_file", None)
    assert opened(items, tmp_path / "cache").shape == (12, H, W, 3)
    assert len(files(tmp_path / "cache")) == 1


@pytest.mark.parametrize(
    "change",
    [{"height": 33}, {"width": 17}, {"interpolation": "bilinear"}, {"on_bad_image": "skip"}],
)
def test_name_depends_on_every_setting(items, change):
    assert key_of(items).file_name != key_of(items, **change).file_name


def test_name_depends_on_images_and_their_order(items):
    names = {key_of(chosen).file_name for chosen in (items, items[:-1], items[::-1])}
    assert len(names) == 3


def test_changed_file_makes_the_cache_outdated(items, tmp_path, caplog):
    folder = tmp_path / "cache"
    opened(items, folder)
    Image.new("RGB", (20, 50), (9, 9, 9)).save(items[3].path)
    with caplog.at_level(logging.WARNING, logger="wrimnet.data.cache"):
        cache = opened(items, folder)
    assert "outdated; it is replaced" in caplog.text
    assert (content(cache)[3] == 9).all()
    assert len(files(folder)) == 1


def test_name_depends_on_modification_times(items):
    """An uncompressed image: the size in bytes does not say which pixels it holds."""
    keys = []
    for value, seconds in ((10, 1), (200, 2)):
        Image.new("L", (20, 50), value).save(items[3].path, "BMP")
        os.utime(items[3].path, (seconds, seconds))
        keys.append(key_of(items))
    assert keys[0].file_name != keys[1].file_name
    assert keys[0].stem == keys[1].stem  # the second replaces the first


def test_another_root_of_equal_names_sizes_and_times_has_its_own_cache(items, tmp_path):
    """Images of the same bytes' number and time, which say nothing about what they show."""
    other = []
    for number, item in enumerate(items):
        path = tmp_path / "other" / item.relpath
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(Path(items[11 - number].path).read_bytes().ljust(9000, b"\0"))
        Path(item.path).write_bytes(Path(item.path).read_bytes().ljust(9000, b"\0"))
        for each in (item.path, path):
            os.utime(each, ns=(10**18, 10**18))
        other.append(item._replace(path=str(path)))
    first = content(opened(items, tmp_path / "cache", num_processes=1))
    second = content(opened(other, tmp_path / "cache", num_processes=1))
    assert (
        second == np.stack([resize_rgb(read_rgb(i.path), H, W, "bicubic") for i in other])
    ).all()
    assert (first != second).any()
    assert len(files(tmp_path / "cache")) == 2


def test_only_a_cache_of_the_same_folder_and_rule_is_replaced(items):
    other = [item._replace(path=item.path.replace("/data/", "/other/")) for item in items]
    with_other = {key_of(items, on_bad_image="skip").stem, key_of(items).stem}
    with_other.add(key_of(other, on_bad_image="skip").stem)
    assert len(with_other) == 3


def test_whole_cache_in_a_folder_that_cannot_be_written_is_used(items, tmp_path, monkeypatch):
    expected = content(opened(items, tmp_path / "cache"))

    def refuse(path, mode):
        raise PermissionError(13, "Read-only file system")

    monkeypatch.setattr(cache, "open", refuse, raising=False)
    assert (content(opened(items, tmp_path / "cache")) == expected).all()
    damage_pixel(tmp_path / "cache" / key_of(items).file_name)
    with pytest.raises(OSError, match=r"set DATALOADER\.CACHE_DIR to a folder that can be written"):
        opened(items, tmp_path / "cache")


def test_other_sizes_live_side_by_side(items, tmp_path):
    opened(items, tmp_path / "cache")
    opened(items, tmp_path / "cache", height=40)
    assert len(files(tmp_path / "cache")) == 2


def damage_pixel(path):
    with open(path, "r+b") as file:
        file.seek(5 * H * W * 3 + 17)
        old = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([old ^ 1]))


def cut_short(path):
    os.truncate(path, os.path.getsize(path) - 100)


def cut_to_nothing(path):
    os.truncate(path, 3)


def damage_description(path):
    with open(path, "r+b") as file:
        file.seek(12 * H * W * 3 + 30)
        file.write(b"\0")


def lengthen(path):
    whole = path.read_bytes()
    path.write_bytes(b"\0" + whole)


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (damage_pixel, "image 5 has another checksum"),
        (cut_short, "its end is missing"),
        (cut_to_nothing, "it is too short"),
        (damage_description, "its description has another checksum"),
        (lengthen, "bytes, expected"),
    ],
)
def test_damage_is_found_and_repaired_with_a_line(items, tmp_path, caplog, damage, sentence):
    folder = tmp_path / "cache"
    before = content(opened(items, folder))
    damage(folder / files(folder)[0])
    with pytest.raises(DamagedCacheError, match=sentence):
        CacheFile(folder / files(folder)[0]).verify(1)
    with caplog.at_level(logging.WARNING, logger="wrimnet.data.cache"):
        cache = opened(items, folder)
    assert sentence in caplog.text and "it is built again" in caplog.text
    assert (content(cache) == before).all()


def test_file_that_shrinks_while_in_use(items, tmp_path):
    cache = opened(items, tmp_path / "cache")
    os.truncate(cache.path, 6 * H * W * 3 + 5)
    place = np.empty((H, W, 3), dtype=np.uint8)
    cache.read_into(5, place)
    with pytest.raises(DamagedCacheError, match="image 6 is cut short"):
        cache.read_into(6, place)


def test_no_space_is_known_beforehand(items, tmp_path, monkeypatch):
    usage = cache.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        OSError, match=r"needs 0.00 GB in .*free disk space, set DATALOADER.CACHE_DIR"
    ):
        opened(items, tmp_path / "cache")
    assert files(tmp_path / "cache") == []


def test_no_space_while_building(items, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "write_description", full)
    with pytest.raises(OSError, match=r"free disk space, set DATALOADER.CACHE_DIR"):
        opened(items, tmp_path / "cache")
    assert files(tmp_path / "cache") == []


def test_unreadable_image_is_named_and_leaves_nothing(items, tmp_path):
    with open(items[7].path, "r+b") as file:
        file.truncate(300)
    with pytest.raises(UnreadableImageError, match=r"7\.jpg"):
        opened(items, tmp_path / "cache")
    assert files(tmp_path / "cache") == []


def test_damage_that_the_decoder_only_warns_of_is_told_at_every_opening(items, tmp_path, caplog):
    Path(items[7].path).write_bytes(overwritten(noise_jpeg()))
    warned = [opened(items, tmp_path / "cache").warned for _ in range(2)]
    assert warned[0] == warned[1] and list(warned[0]) == [items[7].path]
    reports = [record.getMessage() for record in caplog.records]
    sentence = f"damaged image {items[7].path}: Corrupt JPEG data: "
    assert sum(line.startswith(sentence) for line in reports) == 2


def test_missing_image_is_named(items, tmp_path):
    os.remove(items[2].path)
    with pytest.raises(UnreadableImageError, match=r"2\.jpg: the file does not exist"):
        opened(items, tmp_path / "cache")


@pytest.mark.parametrize("vanish", [False, True])
def test_skip_takes_the_next_of_identity_and_modality_and_says_so(items, tmp_path, vanish, caplog):
    os.remove(items[4].path) if vanish else open(items[4].path, "w").close()
    cache = opened(items, tmp_path / "cache", on_bad_image="skip")
    images = content(cache)
    assert (images[4] == images[6]).all() and (images[5] != images[6]).any()
    assert list(cache.skipped) == [items[4].path]
    again = opened(items, tmp_path / "cache", on_bad_image="skip")
    assert again.skipped == cache.skipped
    reports = [record.getMessage() for record in caplog.records]
    assert sum(f"skipped unreadable image {items[4].path}" in line for line in reports) == 2


def test_skip_without_replacement_is_an_error(items, tmp_path):
    for number in (4, 6):
        open(items[number].path, "w").close()
    with pytest.raises(ValueError, match="identity 1 has no readable visible image left"):
        opened(items, tmp_path / "cache", on_bad_image="skip")


def put_in_place_of(name, body, tmp_path, monkeypatch):
    """Puts another function in the place of one that the building processes run."""
    program = f"import os, signal, time\ndef {name}(*arguments):\n    {body}\n"
    (tmp_path / f"{tmp_path.name}.py").write_text(program)
    monkeypatch.syspath_prepend(tmp_path)
    substitute = importlib.import_module(tmp_path.name)
    monkeypatch.setattr(cache, name, getattr(substitute, name))


@pytest.mark.parametrize("death", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)"])
@pytest.mark.parametrize("name", ["_start_decoding", "_decode_one"])
def test_dying_process_is_an_error(items, tmp_path, monkeypatch, name, death):
    put_in_place_of(name, death, tmp_path, monkeypatch)
    with pytest.raises(ChildProcessError, match=r"died at .*/\d+.jpg or near it; start again"):
        opened(items, tmp_path / "cache", num_processes=1)
    assert files(tmp_path / "cache") == []


class BreaksWhenAskedAgain:
    """A pool whose only process dies between two images that are handed to it."""

    def submit(self, function, *arguments):
        if arguments == (1,):
            raise BrokenProcessPool("a child process terminated abruptly")
        future = Future()
        if not arguments:
            future.set_result(1)
        return future


def test_process_that_dies_while_it_gets_work_is_the_same_error(items):
    with pytest.raises(ChildProcessError, match=r"died at .*/0\.jpg or near it; start again"):
        list(cache._in_turn(BreaksWhenAskedAgain(), items, 4, 1.0))


def test_script_without_a_main_guard_gets_a_sentence(items, tmp_path):
    program = f"""
from pathlib import Path
from wrimnet.data.cache import open_cache
from wrimnet.data.cache_file import cache_key
from wrimnet.data.images import ImageItem
items = {items[:1]!r}
reading = dict(height=8, width=8, interpolation="bilinear", on_bad_image="error")
open_cache(cache_key(items, dataset="x", **reading), items, Path({str(tmp_path)!r}),
           num_processes=1, timeout=90)
"""
    (tmp_path / "script.py").write_text(program)
    words = [sys.executable, str(tmp_path / "script.py")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=80)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ChildProcessError:") and 'if __name__ == "__main__"' in last


def test_stalled_image_is_named(items, tmp_path):
    os.remove(items[5].path)
    os.mkfifo(items[5].path)  # opening it waits for a writer that never comes
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match=r"5.jpg; check the disk"):
        opened(items, tmp_path / "cache", timeout=3.0)
    assert time.monotonic() - begin < 15
    assert files(tmp_path / "cache") == []


def test_process_that_is_slow_to_start_has_not_stalled(items, tmp_path, monkeypatch):
    """Importing takes its time on a busy machine; no image is in reading then."""
    slow = "time.sleep(2); import wrimnet.data.cache as c; c._start_decoding(*arguments)"
    put_in_place_of("_start_decoding", slow, tmp_path, monkeypatch)
    assert opened(items, tmp_path / "cache", num_processes=1, timeout=1.0).shape[0] == 12


def test_folder_that_cannot_be_written(items, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"set DATALOADER.CACHE_DIR to a folder that can be written"):
        opened(items, tmp_path / "file" / "cache")


def test_waits_for_a_process_that_builds(items, tmp_path, caplog):
    folder = tmp_path / "cache"
    folder.mkdir()
    lock = open(folder / f"{key_of(items).file_name}.lock", "w")  # noqa: SIM115
    fcntl.flock(lock, fcntl.LOCK_EX)
    threading.Timer(1.0, lock.close).start()
    begin = time.monotonic()
    with caplog.at_level(logging.INFO, logger="wrimnet.data.cache"):
        opened(items, folder)
    assert time.monotonic() - begin > 0.9
    assert "waiting for another process that builds" in caplog.text


def test_builder_that_was_stopped_and_continued_has_not_stalled(items, monkeypatch):
    """The clock goes on while a process is stopped; its own looks do not."""
    clock = iter(range(0, 10**6, 1000))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(cache, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(cache, "_decode_one", _decode_slowly)
    with ThreadPoolExecutor(1) as pool:
        done = [index for index, _ in cache._in_turn(pool, items[:3], 4, timeout=30.0)]
    assert sorted(done) == [0, 1, 2]


def _decode_slowly(index):
    threading.Event().wait(0.05)
    return 0, {}


@pytest.mark.parametrize(
    ("free", "words"), [(10, "0.00 GB free; free disk space"), (10**12, r"\(inodes or")]
)
def test_full_disk_says_what_is_missing(items, tmp_path, monkeypatch, free, words):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert re.search(words, str(cache.no_space(tmp_path, key_of(items))))


BUILD = """
import logging, sys
from pathlib import Path
from wrimnet.data.cache import open_cache
from wrimnet.data.cache_file import cache_key
from wrimnet.data.images import ImageItem
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
paths = sorted(Path(sys.argv[1]).iterdir(), key=lambda path: int(path.stem))
items = [ImageItem(str(p), int(p.stem) // 4, 1, int(p.stem) % 2, p.name) for p in paths]
key = cache_key(items, dataset="Drawn", height=32, width=16, interpolation="bicubic",
                on_bad_image="error")
open_cache(key, items, Path(sys.argv[2]), num_processes=1, timeout=30)
"""


def start_build(items, folder):
    command = [sys.executable, "-c", BUILD, os.path.dirname(items[0].path), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_two_processes_build_once(items, tmp_path):
    runs = [start_build(items, tmp_path / "cache") for _ in range(2)]
    lines = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sum("cache    building" in text for text in lines) == 1
    assert len(files(tmp_path / "cache")) == 1


def test_killed_build_leaves_no_cache_and_the_next_one_succeeds(items, tmp_path):
    folder, image = tmp_path / "cache", items[9].path
    whole = Path(image).read_bytes()
    os.remove(image)
    os.mkfifo(image)
    run = start_build(items, folder)
    while not (list(folder.glob("*.partial")) and (children := children_of(run.pid))):
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    while any(Path(f"/proc/{child}").exists() for child in children):  # they end by themselves
        time.sleep(0.05)
    assert not list(folder.glob("*.cache"))
    os.remove(image)
    with open(image, "wb") as file:
        file.write(whole)
    assert opened(items, folder).shape[0] == 12
