import pickle
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image
from turned_images import save_turned

from wrimnet.data import images
from wrimnet.data.images import (
    ImageItem,
    UnreadableImageError,
    as_rgb,
    fingerprint,
    is_turned,
    read_rgb,
    read_wide_pixels,
    resize_rgb,
)

RAMP = np.arange(8 * 16, dtype=np.uint8).reshape(16, 8)


def color_ramp():
    return Image.fromarray(np.stack([RAMP, 255 - RAMP, RAMP // 2], axis=-1))


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("1", "png"),
        ("L", "png"),
        ("L", "bmp"),
        ("P", "png"),
        ("RGB", "png"),
        ("RGB", "bmp"),
        ("CMYK", "tif"),
        ("YCbCr", "tif"),
        ("LAB", "tif"),
    ],
)
def test_eight_bit_modes_become_rgb_as_pil_converts_them(tmp_path, mode, suffix):
    source = color_ramp().convert("RGB" if mode == "LAB" else mode)
    if mode == "LAB":
        source = Image.merge("LAB", source.split())
    path = tmp_path / f"image.{suffix}"
    source.save(path)
    read = read_rgb(str(path))
    assert read.mode == "RGB" and read.size == (8, 16)
    assert np.array_equal(np.asarray(read), np.asarray(Image.open(path).convert("RGB")))
    assert np.asarray(read).std() > 0


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_dropped_not_blended(tmp_path, mode):
    opaque = color_ramp().convert("L" if mode == "LA" else "RGB")
    source = opaque.convert(mode)
    source.putalpha(7)
    source.save(tmp_path / "image.png")
    read = read_rgb(str(tmp_path / "image.png"))
    assert np.array_equal(np.asarray(read), np.asarray(opaque.convert("RGB")))


def test_a_palette_with_alpha_is_read_by_its_colors(monkeypatch):
    palette = color_ramp().convert("P")
    source = palette.convert("PA")  # no common file format stores this mode
    source.putalpha(7)
    monkeypatch.setattr(Image, "open", lambda path, formats: source)
    assert source.mode == "PA"
    assert np.array_equal(np.asarray(read_rgb("any")), np.asarray(palette.convert("RGB")))


def test_a_transparent_palette_reads_without_a_warning(tmp_path):
    path = tmp_path / "image.png"
    palette = color_ramp().convert("P")
    palette.save(path, transparency=bytes([0, 128] + [255] * 254))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_rgb(str(path))
    assert np.array_equal(np.asarray(read), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(
    ("name", "dtype"), [("a.png", "<u2"), ("a.tif", "<u2"), ("a.tif", ">u2"), ("a.tif", "<i4")]
)
def test_sixteen_bit_values_are_divided_by_256(tmp_path, name, dtype):
    values = (np.arange(8 * 16).reshape(16, 8) * 516 + 3).astype(dtype)
    modes = {"<u2": "I;16", ">u2": "I;16B", "<i4": "I"}
    image = Image.frombytes(modes[dtype], (8, 16), values.tobytes())
    image.save(tmp_path / name)
    read = np.asarray(read_rgb(str(tmp_path / name)))
    expected = (values.astype(np.int64) // 256).astype(np.uint8)
    assert read.shape == (16, 8, 3)
    assert all(np.array_equal(read[..., channel], expected) for channel in range(3))


@pytest.mark.parametrize("value", [-1, 65536])
def test_integer_pixels_outside_16_bits_are_an_error(tmp_path, value):
    path = tmp_path / "image.tif"
    Image.fromarray(np.full((16, 8), value, np.int32)).save(path)
    with pytest.raises(UnreadableImageError, match=f"{value}.*expected 16-bit values 0..65535"):
        read_rgb(str(path))


def test_float_images_without_a_range_are_an_error(tmp_path):
    path = tmp_path / "image.tif"
    Image.fromarray(np.linspace(20, 37, 128, dtype=np.float32).reshape(16, 8)).save(path)
    with pytest.raises(UnreadableImageError, match=r"20\.\.37; set INPUT\.INFRARED_RANGE to"):
        read_rgb(str(path))


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
def test_a_truncated_file_is_named(tmp_path, suffix):
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError, match=r"cut\.") as caught:
        read_rgb(str(path))
    assert caught.value.path == str(path) and caught.value.reason


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff"])
def test_a_file_that_is_no_image_is_named(tmp_path, content):
    path = tmp_path / "other.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"other\.jpg: not an image, or an empty"):
        read_rgb(str(path))


def test_a_vanished_file_is_named(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"gone\.jpg: the file does not exist"):
        read_rgb(str(tmp_path / "gone.jpg"))
    with pytest.raises(UnreadableImageError, match="IsADirectoryError"):
        read_rgb(str(tmp_path))


def test_the_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(UnreadableImageError("a.jpg", "broken")))
    assert (error.path, error.reason, str(error)) == ("a.jpg", "broken", "a.jpg: broken")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_exif_orientation_is_applied(tmp_path, orientation, suffix):
    path, upright = tmp_path / f"turned.{suffix}", np.asarray(color_ramp())
    options = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    options |= {"lossless": True} if suffix == "webp" else {}
    save_turned(path, upright, orientation, **options)
    error = 3 if suffix == "jpg" else 0
    for read in (read_rgb(str(path)), as_rgb(Image.open(path))):
        assert read.size == (8, 16)
        assert np.abs(np.asarray(read).astype(int) - upright).max() <= error
    assert is_turned(str(path)) == (orientation != 1)


def test_sixteen_bit_images_are_turned_as_well(tmp_path):
    path, upright = tmp_path / "turned.png", np.arange(128, dtype=np.uint16).reshape(16, 8) * 500
    save_turned(path, upright, 6)
    assert np.array_equal(np.asarray(read_rgb(str(path)))[..., 0], upright // 256)


@pytest.mark.parametrize("exif", [b"Exif\x00\x00II*\x00\xff\xff\xff\xff", b"Exif\x00\x00", b"x"])
def test_a_damaged_exif_block_turns_nothing(tmp_path, exif):
    path = tmp_path / "image.jpg"
    color_ramp().save(path, exif=exif)
    assert read_rgb(str(path)).size == (8, 16)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_gray_in_equal_channels_reads_as_one_channel(tmp_path, suffix, channels):
    path, alone = str(tmp_path / f"image.{suffix}"), str(tmp_path / "alone.png")
    counts = np.linspace(7000, 8500, 128).astype(np.uint16).reshape(16, 8)
    Image.fromarray(counts).save(alone)
    alpha = [np.full_like(counts, 9)] * (channels - 3)
    cv2.imwrite(path, np.stack([counts] * 3 + alpha, axis=-1))  # PIL cannot write it
    assert np.array_equal(read_wide_pixels(path), counts)
    for read in (read_rgb(path, (7000, 8500)), as_rgb(Image.open(path), (7000, 8500))):
        assert np.array_equal(read, read_rgb(alone, (7000, 8500)))
    with pytest.raises(UnreadableImageError, match=r"7 of 256 gray levels.*INPUT\.INFRARED_RANGE"):
        read_rgb(path)
    full = (np.arange(128, dtype=np.uint16) * 512).reshape(16, 8)
    cv2.imwrite(path, np.stack([full] * 3 + alpha, axis=-1))
    assert np.array_equal(np.asarray(read_rgb(path))[..., 0], full // 256)


def test_sixteen_bit_colors_keep_their_high_byte_or_are_refused(tmp_path):
    path = str(tmp_path / "image.png")
    colors = np.asarray(color_ramp()).astype(np.uint16) * 257
    cv2.imwrite(path, colors[..., ::-1])
    assert np.array_equal(read_rgb(path), color_ramp()) and read_wide_pixels(path) is None
    with pytest.raises(UnreadableImageError, match=r"INFRARED_RANGE is for gray images"):
        read_rgb(path, (7000, 8500))
    cv2.imwrite(path, colors // 64 + 7000)
    with pytest.raises(
        UnreadableImageError, match=r"7000\.\.8023: 8 bits keep 5 of 256 levels.*with 8 bits"
    ):
        read_rgb(path)


def test_arrays_of_one_channel_are_gray():
    gray = np.asarray(as_rgb(RAMP))
    assert all(np.array_equal(gray[..., channel], RAMP) for channel in range(3))
    counts = RAMP.astype(np.uint16) * 10 + 7000
    assert np.array_equal(np.asarray(as_rgb(counts, (7000, 9550)))[..., 1], RAMP)
    with pytest.raises(ValueError, match="INFRARED_RANGE"):
        as_rgb(counts)
    for array in (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4), np.uint8)):
        with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\)"):
            as_rgb(array)


def test_an_avif_image_is_read(tmp_path):
    color_ramp().save(tmp_path / "image.avif", quality=100)
    assert read_rgb(str(tmp_path / "image.avif")).size == (8, 16)


def test_a_heic_image_is_read_where_pillow_heif_is_installed(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(color_ramp().resize((64, 64))).save(tmp_path / "image.heic")
    assert read_rgb(str(tmp_path / "image.heic")).size == (64, 64)


def test_the_package_that_reads_heic_is_named(tmp_path, monkeypatch):
    (tmp_path / "image.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0" + bytes(40))
    monkeypatch.setattr(images, "readable_formats", lambda: ("JPEG", "PNG"))
    with pytest.raises(UnreadableImageError, match=r"HEIC.*pillow-heif; formats.*: JPEG, PNG"):
        read_rgb(str(tmp_path / "image.heic"))


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_resizing_is_pils(name):
    image = color_ramp()
    resized = resize_rgb(image, height=24, width=12, interpolation=name)
    assert resized.shape == (24, 12, 3) and resized.dtype == np.uint8
    by_pil = image.resize((12, 24), getattr(Image.Resampling, name.upper()))
    assert np.array_equal(resized, np.asarray(by_pil))
    assert resized.flags.writeable
    assert np.array_equal(np.asarray(image), np.asarray(color_ramp()))


def test_an_unknown_interpolation_is_refused():
    with pytest.raises(ValueError, match="'cubic' is unknown; use one of nearest, bilinear"):
        resize_rgb(color_ramp(), 4, 4, "cubic")


def test_fingerprint_is_of_names_labels_and_sizes(tmp_path):
    paths = [tmp_path / f"{number}.jpg" for number in range(2)]
    for path in paths:
        path.write_bytes(b"1234")
    items = [ImageItem(str(path), 7 + n, 1, n, path.name) for n, path in enumerate(paths)]
    others = [
        [items[0]._replace(pid=8), items[1]._replace(pid=7)],  # two identities exchanged
        [items[0]._replace(camid=2), items[1]],
        [items[0]._replace(modality=1), items[1]],
        [items[0]._replace(relpath="2.jpg"), items[1]],
        items[::-1],
        items[:1],
    ]
    found = {fingerprint(of) for of in (items, *others)}
    assert len(found) == 1 + len(others)
    moved = [item._replace(path=str(tmp_path / "." / item.relpath)) for item in items]
    assert fingerprint(moved) == fingerprint(items)
    paths[0].write_bytes(b"12345")
    assert fingerprint(items) not in found
