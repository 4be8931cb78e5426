"""INPUT.INFRARED_RANGE: what it may be, what auto measures, and which images it reads."""

import numpy as np
import pytest
from PIL import Image
from thermal_frames import CAMERAS, eight_bit_twin, save_frame, thermal_frame
from tiny_runs import CONFIG_FILE, tiny_cfg

from wrimnet.config import config_hash, setup_cfg
from wrimnet.config.setup import build_infrared_range
from wrimnet.data.build import build_reading
from wrimnet.data.cache_file import cache_key
from wrimnet.data.images import ImageItem, UnreadableImageError
from wrimnet.data.infrared_range import measure_infrared_range
from wrimnet.data.reading import ImageReader
from wrimnet.evaluation.extraction import build_extraction
from wrimnet.modality import INFRARED, VISIBLE

PARAMETRIZED = pytest.mark.parametrize("camera", CAMERAS)


def item(path, modality=INFRARED):
    return ImageItem(str(path), 1, 1, modality, path.name)


def test_default_changes_no_hash():
    unset = setup_cfg(CONFIG_FILE)
    assert unset.INPUT.INFRARED_RANGE == ()
    assert config_hash(setup_cfg(CONFIG_FILE, options=["INPUT.MEASURED_RANGE", "(1, 2)"])) == (
        config_hash(unset)
    )
    words = ["INPUT.INFRARED_RANGE", "auto"]
    assert config_hash(setup_cfg(CONFIG_FILE, options=words)) != config_hash(unset)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("auto", ("auto",)), ("(7000, 8500)", (7000, 8500)), ("[10.5, 40]", (10.5, 40)), ("()", ())],
)
def test_values_are_read_from_words_and_from_the_file_of_a_run(tmp_path, word, expected):
    cfg = setup_cfg(CONFIG_FILE, options=["INPUT.INFRARED_RANGE", word])
    assert expected == cfg.INPUT.INFRARED_RANGE
    (tmp_path / "config.yaml").write_text(cfg.dump())
    again = setup_cfg(str(tmp_path / "config.yaml"))
    assert expected == again.INPUT.INFRARED_RANGE
    assert config_hash(again) == config_hash(cfg)


def test_yaml_has_the_word_auto(tmp_path):
    (tmp_path / "a.yml").write_text("INPUT:\n  INFRARED_RANGE: auto\n")
    assert setup_cfg(CONFIG_FILE, [str(tmp_path / "a.yml")]).INPUT.INFRARED_RANGE == ("auto",)


@pytest.mark.parametrize(
    "word", ["(8500, 7000)", "(7000,)", "(1, 2, 3)", "(7000, 7000)", "('a', 'b')", "(True, False)"]
)
def test_what_is_no_range_is_refused(word):
    with pytest.raises(ValueError, match=r"INFRARED_RANGE = .*: expected \(low, high\)"):
        setup_cfg(CONFIG_FILE, options=["INPUT.INFRARED_RANGE", word])


@PARAMETRIZED
def test_auto_measures_the_percentiles_of_the_pixels(tmp_path, camera):
    frames = [thermal_frame(number, camera) for number in range(5)]
    for number, frame in enumerate(frames):
        save_frame(tmp_path / f"{number}.png", frame)
    items = [item(tmp_path / f"{number}.png") for number in range(5)]
    Image.new("L", (4, 4)).save(tmp_path / "8bit.png")
    save_frame(tmp_path / "visible.png", np.full((4, 4), 65535, np.uint16))
    items += [item(tmp_path / "8bit.png"), item(tmp_path / "visible.png", VISIBLE)]
    low, high = measure_infrared_range(items, num_threads=2)
    expected = np.percentile(np.stack(frames), (0.1, 99.9))
    np.testing.assert_allclose((low, high), expected, atol=2e-3 * np.ptp(frames[0]))
    assert measure_infrared_range(items, num_threads=1) == (low, high)


def test_auto_finds_nothing_in_images_of_8_bits(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    assert measure_infrared_range([item(tmp_path / "a.png")], num_threads=1) == ()


def test_auto_refuses_equal_pixels_and_damaged_files(tmp_path):
    save_frame(tmp_path / "flat.png", np.full((4, 4), 7000, np.uint16))
    with pytest.raises(ValueError, match="all pixels of 1 infrared images are 7000"):
        measure_infrared_range([item(tmp_path / "flat.png")], num_threads=1)
    save_frame(tmp_path / "good.png", thermal_frame(0, "counts"))
    (tmp_path / "bad.png").write_bytes(b"bad")
    items = [item(tmp_path / "good.png"), item(tmp_path / "bad.png")]
    with pytest.raises(UnreadableImageError, match=r"bad\.png"):
        measure_infrared_range(items, num_threads=1)
    alone = measure_infrared_range(items[:1], num_threads=1)
    assert measure_infrared_range(items, num_threads=1, skip_bad=True) == alone


@PARAMETRIZED
def test_training_and_evaluation_read_infrared_by_the_range_and_nothing_else(tmp_path, camera):
    low, high = CAMERAS[camera][1:]
    frame = thermal_frame(0, camera, (32, 16))
    twin = eight_bit_twin(frame, camera)
    save_frame(tmp_path / "frame.png", frame)
    save_frame(tmp_path / "visible.png", np.arange(512, dtype=np.uint16).reshape(32, 16) * 128)
    Image.fromarray(twin).save(tmp_path / "twin.png")
    cfg = tiny_cfg(tmp_path, tmp_path / "out", INPUT__INFRARED_RANGE=f"({low}, {high})")
    names = {"frame.png": INFRARED, "twin.png": INFRARED, "visible.png": VISIBLE}
    items = [item(tmp_path / name, modality) for name, modality in names.items()]
    reader, places = ImageReader(items, **build_reading(cfg)), np.empty((3, 32, 16, 3), np.uint8)
    for index, place in enumerate(places):
        reader.read_into(index, place)
    assert np.abs(places[0].astype(int) - places[1]).max() <= 1
    assert np.array_equal(places[2][..., 0], np.arange(512).reshape(32, 16) // 2)
    extraction = build_extraction(cfg)
    for place, image in zip(places, items, strict=True):
        assert np.array_equal(extraction.read(image.path, image.modality), place)


def test_a_cache_of_another_range_is_another_file(tmp_path):
    save_frame(tmp_path / "frame.png", thermal_frame(0, "counts"))
    options = {"dataset": "D", "height": 4, "width": 2, "interpolation": "nearest"}
    keys = [
        cache_key([item(tmp_path / "frame.png")], **options, on_bad_image="error", infrared_range=r)
        for r in ((), (7000, 8500), (7000, 8501))
    ]
    assert len({key.file_name for key in keys}) == 3


def test_auto_without_a_measurement_is_no_range():
    cfg = setup_cfg(CONFIG_FILE, options=["INPUT.INFRARED_RANGE", "auto"])
    assert build_infrared_range(cfg) == ()
