"""Damage inside a JPEG file is told, though an image comes out."""

import os
import re

import pytest
from damaged_jpegs import noise_jpeg, overwritten
from PIL import Image

from wrimnet.data.images import UnreadableImageError, read_rgb
from wrimnet.data.jpeg_warnings import jpeg_warning

WHOLE = noise_jpeg()
MIDDLE = len(WHOLE) // 2


@pytest.mark.parametrize(
    "content",
    [
        overwritten(WHOLE),
        overwritten(WHOLE, b"no image" * 60),
        WHOLE[:MIDDLE] + WHOLE[MIDDLE + 300 :],
        WHOLE[:MIDDLE] + b"\xff\xd9",
    ],
    ids=["zeros", "text", "lost", "ended early"],
)
def test_damage_in_the_middle_is_told(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert read_rgb(str(path)).size == (48, 96)  # Pillow says nothing
    warning = jpeg_warning(str(path))
    assert re.match("Corrupt JPEG data: (premature end of|[0-9]+ extraneous bytes)", warning)


@pytest.mark.parametrize("length", [MIDDLE, len(WHOLE) - 20, len(WHOLE) - 1])
def test_cut_file_is_unreadable(tmp_path, length):
    (tmp_path / "a.jpg").write_bytes(WHOLE[:length])
    with pytest.raises(UnreadableImageError, match=r"a\.jpg: OSError: image file is truncated"):
        read_rgb(str(tmp_path / "a.jpg"))


@pytest.mark.parametrize(
    "content", [WHOLE, noise_jpeg(progressive=True), noise_jpeg(quality=30), WHOLE + bytes(99)]
)
def test_whole_file_has_no_warning(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    assert jpeg_warning(str(tmp_path / "a.jpg")) == ""


def test_other_formats_and_modes_have_no_warning(tmp_path):
    for mode, name in (("CMYK", "a.jpg"), ("L", "b.jpg"), ("RGB", "c.png"), ("RGB", "d.bmp")):
        Image.new(mode, (48, 96)).save(tmp_path / name)
        assert jpeg_warning(str(tmp_path / name)) == ""


def test_standard_error_is_given_back(tmp_path, capfd):
    (tmp_path / "a.jpg").write_bytes(overwritten(WHOLE))
    descriptors = len(os.listdir("/proc/self/fd"))
    jpeg_warning(str(tmp_path / "a.jpg"))
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"
    assert len(os.listdir("/proc/self/fd")) == descriptors
