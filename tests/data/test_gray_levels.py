"""Counts and temperatures of infrared cameras as gray levels."""

import numpy as np
import pytest

from wrimnet.data.gray_levels import PixelRangeError, gray_levels

CAMERAS = {  # of ranges that thermal cameras write
    "counts": (np.uint16, 7000, 8500),
    "centikelvin": (np.int32, 28800, 31300),
    "degrees": (np.float32, -5.5, 39.25),
}


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_ramp_becomes_a_ramp_of_gray_within_one_level(camera):
    dtype, low, high = CAMERAS[camera]
    ramp = np.linspace(low, high, 4096).reshape(64, 64).astype(dtype)
    gray = gray_levels(ramp, (low, high))
    expected = (ramp.astype(np.float64) - low) / (high - low) * 255
    assert gray.dtype == np.uint8 and gray.shape == (64, 64)
    assert np.abs(gray - expected).max() <= 0.5 + 1e-9
    assert gray[0, 0] == 0 and gray[-1, -1] == 255


def test_values_outside_the_range_are_clipped():
    gray = gray_levels(np.array([[0, 7000, 7750, 8500, 16383]], np.uint16), (7000, 8500))
    assert gray.tolist() == [[0, 0, 128, 255, 255]]


@pytest.mark.parametrize("values", [(7000, 8500), (28800, 31300)])
def test_few_levels_without_a_range_name_the_key(values):
    ramp = np.linspace(*values, 4096).reshape(64, 64).astype(np.uint16)
    with pytest.raises(PixelRangeError, match=r"(7|11) of 256 gray levels.*INPUT\.INFRARED_RANGE"):
        gray_levels(ramp)


def test_few_values_that_lose_nothing_are_divided_as_before():
    values = np.array([[0, 257, 2 * 257, 65535]], np.uint16)
    assert gray_levels(values).tolist() == [[0, 1, 2, 255]]


@pytest.mark.parametrize("infrared_range", [(0, 6999), (8501, 9000), (28800, 31300)])
def test_a_range_of_another_camera_is_refused(infrared_range):
    ramp = np.linspace(7000, 8500, 4096).reshape(64, 64).astype(np.uint16)
    with pytest.raises(
        PixelRangeError, match=r"7000\.\.8500, none is inside INPUT\.INFRARED_RANGE"
    ):
        gray_levels(ramp, infrared_range)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_refused(value):
    values = np.full((4, 4), 20.0, np.float32)
    values[1, 2] = value
    with pytest.raises(PixelRangeError, match="NaN or infinite"):
        gray_levels(values, (10, 40))
