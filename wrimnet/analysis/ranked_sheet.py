"""A sheet of ranked lists: each query with its nearest gallery images, right or wrong."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

RIGHT, WRONG, REMOVED, QUERY = (26, 150, 65), (215, 48, 39), (150, 150, 150), (30, 30, 30)
_TILE = (96, 192)  # width, height in pixels
_FRAME, _GAP, _CAPTION, _TITLE = 4, 8, 16, 30


class Tile(NamedTuple):
    """One image of a sheet: file, colour of its frame, words below it."""

    path: str
    colour: tuple[int, int, int]
    caption: str


def draw_ranked_sheet(title: str, rows: Sequence[Sequence[Tile]]) -> Image.Image:
    """Draws one row per query, its tiles from left to right.

    Args:
        title: model, dataset and direction.
        rows: the query's tile, then the gallery's in order of similarity.

    Returns:
        RGB picture.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("a sheet of ranked lists needs at least one query")
    width, height = _TILE[0] + 2 * _FRAME + _GAP, _TILE[1] + 2 * _FRAME + _GAP + _CAPTION
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (_GAP + width * columns, _TITLE + height * len(rows)), "white")
    ImageDraw.Draw(sheet).text((_GAP, 6), title, "black", ImageFont.load_default(15))
    for row_number, row in enumerate(rows):
        for column, tile in enumerate(row):
            _paste(sheet, tile, _GAP + column * width, _TITLE + row_number * height)
    return sheet


def _paste(sheet: Image.Image, tile: Tile, left: int, top: int) -> None:
    with Image.open(tile.path) as file:
        picture = file.convert("RGB").resize(_TILE, Image.Resampling.BICUBIC)
    frame = Image.new("RGB", (_TILE[0] + 2 * _FRAME, _TILE[1] + 2 * _FRAME), tile.colour)
    frame.paste(picture, (_FRAME, _FRAME))
    sheet.paste(frame, (left, top))
    font = ImageFont.load_default(11)
    ImageDraw.Draw(sheet).text((left, top + frame.height + 1), tile.caption, "black", font)
