"""Ranked lists: which queries to show, what they found, and the sheet they are drawn on.

The sheet is drawn with Pillow alone: the demo and the search have one without any extra installed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from wrimnet.data.images import ImageItem, read_rgb
from wrimnet.data.randomness import generator
from wrimnet.evaluation.evaluator import ProtocolRun
from wrimnet.evaluation.galleries import item_labels
from wrimnet.metrics.distances import exact_distances
from wrimnet.metrics.exclusion import camera_rule
from wrimnet.metrics.ranking import rank_queries
from wrimnet.modality import INFRARED, VISIBLE

KINDS = ("best", "random", "worst")
RIGHT, WRONG, EXCLUDED, UNKNOWN, QUERY = "right", "wrong", "excluded", "unknown", "query"
COLORS = {
    RIGHT: (26, 150, 65),
    WRONG: (215, 48, 39),
    EXCLUDED: (138, 138, 138),
    UNKNOWN: (138, 138, 138),
    QUERY: (30, 30, 30),
}
LISTED, REMOVED_SHOWN = 10, 2
_font = ImageFont.load_default  # by size in pixels
_TILE = (80, 176)  # width, height of a picture, pixels
_FRAME, _GAP, _MARGIN, _LABEL, _CAPTION, _TITLE, _LEGEND = 5, 10, 14, 92, 36, 52, 30
_LEGEND_WORDS = {
    RIGHT: "green: the query's identity",
    WRONG: "red: another identity",
    EXCLUDED: "gray, struck out: removed by the camera rule, not counted",
}


class Ranking(NamedTuple):
    """One query and its gallery, as rows of the test images."""

    kind: str  # why it was chosen
    query: int
    average_precision: float
    order: np.ndarray  # (G,) gallery rows, nearest first, removed ones included
    similarity: np.ndarray  # (G,) cosine of each
    removed: np.ndarray  # (G,) True where the camera rule removes it


class Tile(NamedTuple):
    """One image of a sheet: its file, what it is, and lines below it."""

    path: str
    status: str
    caption: str
    modality: int = VISIBLE


class RankedList(NamedTuple):
    """One query's row of a sheet: words before it, the query, those ranked, those removed."""

    label: str
    query: Tile
    ranked: Sequence[Tile]
    removed: Sequence[Tile] = ()


def choose_rankings(
    embeddings: np.ndarray,
    items: Sequence[ImageItem],
    run: ProtocolRun,
    *,
    per_kind: int,
    seed: int,
) -> list[Ranking]:
    """Ranks the first trial of a protocol and picks queries of each of KINDS.

    Best and worst by average precision, ties in the order of the queries; queries without a match
    are not shown. No identity comes twice while there is another. ``embeddings`` are (N, D),
    L2-normalized.
    """
    trial, labels = run.trials[0], item_labels(items)
    queries, gallery = (torch.from_numpy(r) for r in (trial.query_rows, trial.gallery_rows))
    rows = torch.from_numpy(embeddings)
    dist = exact_distances(rows[queries], rows[gallery])
    rule = camera_rule(run.protocol.camera_rule)
    scores = rank_queries(
        dist, labels[queries], labels[gallery], rule=rule, unique_ids=run.protocol.unique_ids
    )
    rankings = []
    matched, pids = np.flatnonzero(scores.first_match > 0), labels.pids[queries].numpy()
    for kind, number in _choose(scores.average_precision, matched, pids, per_kind, seed):
        query_labels, gallery_labels = labels[queries[number : number + 1]], labels[gallery]
        removed = rule(
            query_labels.pids, query_labels.camids, gallery_labels.pids, gallery_labels.camids
        )[0]
        order = dist[number].argsort(stable=True)
        rankings.append(
            Ranking(
                kind=kind,
                query=int(queries[number]),
                average_precision=float(scores.average_precision[number]),
                order=gallery[order].numpy(),
                similarity=-dist[number][order].numpy(),
                removed=removed[order].numpy(),
            )
        )
    return rankings


def _choose(
    precision: np.ndarray, matched: np.ndarray, pids: np.ndarray, per_kind: int, seed: int
) -> list[tuple[str, int]]:
    """Kind and number of the queries shown, of those that are matched."""
    orders = {
        "best": matched[np.argsort(-precision[matched], kind="stable")],
        "worst": matched[np.argsort(precision[matched], kind="stable")],
        "random": generator(seed, "ranked lists", 0).permutation(matched),
    }
    chosen: list[tuple[str, int]] = []
    for kind, order in orders.items():
        numbers = _next_identities(order, pids, [number for _, number in chosen])
        chosen += [(kind, number) for number in numbers[:per_kind]]
    return sorted(chosen, key=lambda entry: KINDS.index(entry[0]))


def _next_identities(order: np.ndarray, pids: np.ndarray, shown: list[int]) -> list[int]:
    """The queries that are not shown, in order, but those of an identity that is shown last."""
    seen = {pids[number] for number in shown}
    fresh: list[int] = []
    others: list[int] = []
    for number in order.tolist():
        if number not in shown:
            (others if pids[number] in seen else fresh).append(number)
            seen.add(pids[number])
    return fresh + others


def listed(ranking: Ranking, items: Sequence[ImageItem]) -> RankedList:
    """Makes the row of a sheet from a ranking."""
    query = items[ranking.query]

    def tile(place: int, status: str, rank: int) -> Tile:
        item = items[ranking.order[place]]
        words = f"{rank}: id {item.pid}\n{ranking.similarity[place]:.3f}"
        return Tile(item.path, status, words, item.modality)

    kept = np.flatnonzero(~ranking.removed)[:LISTED]
    gone = np.flatnonzero(ranking.removed)[:REMOVED_SHOWN]
    pids = [items[ranking.order[place]].pid for place in kept]
    statuses = [RIGHT if pid == query.pid else WRONG for pid in pids]
    return RankedList(
        label=f"{ranking.kind}\nAP {100 * ranking.average_precision:.0f} %",
        query=Tile(query.path, QUERY, f"id {query.pid}\ncamera {query.camid}", query.modality),
        ranked=[tile(place, statuses[n], n + 1) for n, place in enumerate(kept)],
        removed=[tile(p, EXCLUDED, int((~ranking.removed[:p]).sum()) + 1) for p in gone],
    )


def read_tile(tile: Tile, infrared_range: Sequence[float]) -> Image.Image:
    """Reads a tile's image; infrared pixels of more than 8 bits become gray by the range."""
    return read_rgb(tile.path, infrared_range if tile.modality == INFRARED else ())


def draw_ranked_lists(
    title: str, lists: Sequence[RankedList], infrared_range: Sequence[float] = ()
) -> Image.Image:
    """Draws one row per query: its words, the query, the nearest images, those removed.

    ``infrared_range`` is (low, high) of infrared pixels of more than 8 bits.

    Raises:
        ValueError: there is no list.
    """
    if not lists:
        raise ValueError("a sheet of ranked lists needs at least one query")
    step_x, step_y = _TILE[0] + 2 * _FRAME + _GAP, _TILE[1] + 2 * _FRAME + _CAPTION + _GAP
    num_ranked = max(len(row.ranked) for row in lists)
    num_removed = max(len(row.removed) for row in lists)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    heading = pen.multiline_textbbox((0, 0), title, _font(16))
    words = [pen.multiline_textbbox((0, 0), row.label, _font(14))[2] for row in lists]
    label, columns = max(_LABEL, int(max(words)) + _GAP), 1 + num_ranked + num_removed
    width = max(label + columns * step_x + 2 * _GAP, int(heading[2])) + 2 * _MARGIN
    sheet = Image.new("RGB", (width, _TITLE + len(lists) * step_y + _LEGEND), "white")
    pen = ImageDraw.Draw(sheet)
    pen.multiline_text((_MARGIN, 8), title, "black", _font(16))
    for number, row in enumerate(lists):
        top = _TITLE + number * step_y
        pen.multiline_text((_MARGIN, top + _TILE[1] // 3), row.label, "black", _font(14))
        places = [0.0, *(1 + i for i in range(len(row.ranked)))]
        places += [1 + num_ranked + i for i in range(len(row.removed))]
        for place, tile in zip(places, (row.query, *row.ranked, *row.removed), strict=True):
            shift = _GAP * ((place >= 1) + (place >= 1 + num_ranked))  # groups stand apart
            left = _MARGIN + label + int(place * step_x) + shift
            _draw_tile(sheet, tile, read_tile(tile, infrared_range), left, top)
    shown = {tile.status for row in lists for tile in (*row.ranked, *row.removed)}
    legend = ", ".join(words for status, words in _LEGEND_WORDS.items() if status in shown)
    pen.text((_MARGIN, sheet.height - _LEGEND + 4), legend, (70, 70, 70), _font(13))
    return sheet


def _draw_tile(sheet: Image.Image, tile: Tile, picture: Image.Image, left: int, top: int) -> None:
    frame = Image.new("RGB", (_TILE[0] + 2 * _FRAME, _TILE[1] + 2 * _FRAME), COLORS[tile.status])
    frame.paste(picture.resize(_TILE, Image.Resampling.BICUBIC), (_FRAME, _FRAME))
    if tile.status == EXCLUDED:
        corners = (0, frame.height, frame.width, 0)
        ImageDraw.Draw(frame).line(corners, "white", 7)
        ImageDraw.Draw(frame).line(corners, COLORS[EXCLUDED], 3)
    sheet.paste(frame, (left, top))
    place = (left, top + frame.height + 2)
    ImageDraw.Draw(sheet).multiline_text(place, tile.caption, "black", _font(12), spacing=2)
