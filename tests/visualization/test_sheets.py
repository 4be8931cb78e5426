"""Pictures of the report: their sizes, frames, colors and scales."""

import base64
import io

import numpy as np
from PIL import Image

from wrimnet.visualization.ranked_lists import EXCLUDED, QUERY, RIGHT, WRONG, RankedList, Tile
from wrimnet.visualization.sheets import (
    TILE_SIZE,
    blue_to_red,
    color_scale,
    overlay_map,
    picture_url,
    ranked_sheet,
    viridis,
)


def read_url(url):
    head, _, text = url.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_large_pictures_become_smaller_and_small_ones_stay():
    assert read_url(picture_url(Image.new("RGB", (960, 2000)))).size == TILE_SIZE
    assert read_url(picture_url(np.zeros((24, 9, 3), np.uint8))).size == (9, 24)


def test_ranked_lists_keep_order_frames_and_words(tmp_path):
    path = str(tmp_path / "a.png")
    Image.new("RGB", (9, 24), "red").save(path)
    tiles = {s: Tile(path, s, f"{s}\n0.5") for s in (QUERY, RIGHT, WRONG, EXCLUDED)}
    row = RankedList("best\nAP 50 %", tiles[QUERY], [tiles[WRONG], tiles[RIGHT]], [tiles[EXCLUDED]])
    (shown,) = ranked_sheet([row]).rows
    assert shown.label == "best, AP 50 %"
    assert [tile.status for tile in shown.tiles] == [QUERY, WRONG, RIGHT, EXCLUDED]
    assert [tile.lines[0] for tile in shown.tiles] == ["query", "wrong ✗", "right ✓", "excluded"]
    assert read_url(shown.tiles[0].image).size == (9, 24)


def test_palettes_end_where_their_names_say():
    assert viridis(np.array([0.0, 1.0])).tolist() == [[68, 1, 84], [253, 231, 37]]  # matplotlib's
    (blue, white, red) = blue_to_red(np.array([0.0, 0.5, 1.0])).tolist()
    assert blue[2] > 2 * blue[0]
    assert min(white) > 240
    assert red[0] > 2 * red[2]


def test_overlay_keeps_the_image_below_and_clips_to_the_scale():
    image = np.zeros((1, 3, 3), np.uint8)
    drawn = overlay_map(image, np.array([[-5.0, 2.0, 9.0]]), blue_to_red, 1.0, 3.0)
    ends = np.rint(0.55 * blue_to_red(np.array([[0.0, 0.5, 1.0]])))
    np.testing.assert_array_equal(drawn, ends)
    image[:] = 200
    assert (overlay_map(image, np.array([[1.0, 2, 3]]), blue_to_red, 1.0, 3.0) > drawn).all()


def test_scale_is_a_gradient_in_the_palettes_colors():
    scale = color_scale("Block 1", viridis, "0.2", "0.9")
    assert scale.gradient.startswith("linear-gradient(90deg,rgb(68,1,84),")
    assert scale.gradient.endswith(",rgb(253,231,37))")
