"""What a report shows of a trained model: ranked lists, gates, similarity, map, distances."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from wrimnet.evaluation.evaluator import ProtocolRun
from wrimnet.modality import INFRARED, MODALITY_NAMES, VISIBLE
from wrimnet.visualization.charts import Chart, Series
from wrimnet.visualization.drawing import enlarge_map, smooth_map
from wrimnet.visualization.embeddings import DistanceHistogram, identity_colors
from wrimnet.visualization.figures import (
    Subject,
    compare_distances,
    explain_pairs,
    gate_spreads,
    gated_images,
    list_rankings,
    map_planes,
)
from wrimnet.visualization.gate_spread import Spread
from wrimnet.visualization.gates import (
    FLAT,
    OF_PAPER,
    GatedImage,
    MIIMName,
    blocks_without_gate,
    gate_name,
    gated_miims,
    miim_placement,
)
from wrimnet.visualization.ranked_lists import QUERY
from wrimnet.visualization.sheets import (
    Sheet,
    SheetRow,
    SheetTile,
    blue_to_red,
    color_scale,
    overlay_map,
    picture_url,
    ranked_sheet,
    viridis,
)
from wrimnet.visualization.similarity import ExplainedPair


class PointMap(NamedTuple):
    """Points in a plane whose axes mean nothing, and what each is."""

    title: str
    x: Sequence[float]
    y: Sequence[float]
    colors: Sequence[str]  # CSS
    symbols: Sequence[str]  # "circle" or "triangle"
    names: Sequence[str]


class ReportFigure(NamedTuple):
    """A part of the page: a heading, a sentence, and pictures, charts or maps of points."""

    title: str
    caption: str
    sheet: Sheet | None = None
    charts: Sequence[Chart] = ()
    maps: Sequence[PointMap] = ()


def ranked_figures(subject: Subject) -> list[ReportFigure]:
    """Returns the ranked lists of every protocol."""
    return [_ranked(subject, run) for run in subject.runs]


def _ranked(subject: Subject, run: ProtocolRun) -> ReportFigure:
    return ReportFigure(
        f"{run.protocol.direction} ({run.protocol.name})",
        "First trial: queries with the highest and the lowest average precision (AP) and random "
        "ones, each with its nearest gallery images. Below an image: rank, identity, cosine.",
        sheet=ranked_sheet(list_rankings(subject, run), subject.trained.extraction.infrared_range),
    )


def model_figures(subject: Subject) -> Iterator[ReportFigure]:
    """Yields what the trained model does inside, and what its embeddings look like."""
    yield from _gates(subject)
    if subject.trained.model.explained_layer() is not None:
        yield _similarity(subject)
    yield _embedding_map(subject)
    yield _distances(subject)


def _gates(subject: Subject) -> Iterator[ReportFigure]:
    """The gates of the MIIMs; of a block without one its name."""
    model = subject.trained.model
    without = "; ".join(blocks_without_gate(model))
    note = f" Without a gate: {without}." if without else ""
    if gated_miims(model):
        name = gate_name(model)
        caption = (
            f"What the MIIM after each Block multiplies its features with: {name}, mean over the "
            "channels, on one scale per Block. The range is below each map; gray: it varies by "
            f"less than {FLAT:g}.{note}"
        )
        chart = gate_chart(gate_spreads(subject), name)
        yield ReportFigure("Gates of the MIIMs", caption, _gate_sheet(subject), [chart])
    elif note:
        yield ReportFigure("Gates of the MIIMs", note.strip())


def gate_chart(spreads: Mapping[MIIMName, Spread], gate: str) -> Chart:
    """Draws the mean gate of each MIIM by Block; beside it, what its variance consists of.

    ``gate`` is what :func:`gate_name` says of them.
    """
    values = {
        copy: sorted((name.block, spread) for name, spread in spreads.items() if name.copy == copy)
        for copy in dict.fromkeys(name.copy for name in spreads)
    }
    series = [
        Series(
            copy,
            [block for block, _ in of_copy],
            [spread.mean for _, spread in of_copy],
            [_spread_words(spread) for _, spread in of_copy],
        )
        for copy, of_copy in values.items()
    ]
    top = 1.0 if gate == OF_PAPER else None
    return Chart("Mean gate by Block", "Block", gate, series, top=top)


def _spread_words(spread: Spread) -> str:
    if not spread.variance:
        return "std 0.0000"
    parts = {"channels": spread.channels, "images": spread.images, "positions": spread.positions}
    shares = [f"{100 * part / spread.variance:.0f} % {name}" for name, part in parts.items()]
    return f"std {spread.variance**0.5:.4f}, variance: {', '.join(shares)}"


def _gate_sheet(subject: Subject) -> Sheet:
    images, placement = gated_images(subject), miim_placement(subject.trained.model)
    scales = {block: _gate_scale(images, block) for block in sorted(placement)}
    return Sheet(
        [_gate_row(image, scales, placement) for image in images],
        scales=[
            color_scale(f"Block {block}", viridis, f"{low:.3f}", f"{high:.3f}")
            for block, (low, high) in scales.items()
            if high - low >= FLAT
        ],
    )


def _gate_scale(images: Sequence[GatedImage], block: int) -> tuple[float, float]:
    gates = [image.gates[block] for image in images]
    return min(float(gate.min()) for gate in gates), max(float(gate.max()) for gate in gates)


def _gate_row(
    image: GatedImage, scales: Mapping[int, tuple[float, float]], placement: Mapping[int, str]
) -> SheetRow:
    label = image.label.replace("\n", ", ")
    tiles = [SheetTile(picture_url(image.image), f"image of {label}", ["image"])]
    for block, scale in scales.items():
        gate = image.gates[block]
        low, high = float(gate.min()), float(gate.max())
        if flat := high - low < FLAT:
            drawn = np.full_like(image.image, 160)
        else:
            layer = enlarge_map(gate, *image.image.shape[:2])
            drawn = overlay_map(image.image, layer, viridis, *scale)
        words = [
            f"Block {block}, {placement[block]}",
            f"{'flat, ' * flat}{low:.4f} to {high:.4f}",
        ]
        tiles.append(SheetTile(picture_url(drawn), f"gate after Block {block}", words))
    return SheetRow(label, tiles)


def _similarity(subject: Subject) -> ReportFigure:
    queries = explain_pairs(subject)
    maps = [m for pairs in queries for pair in pairs for m in (pair.query_map, pair.gallery_map)]
    limit = max(float(np.abs(maps).max()), 1e-12)
    return ReportFigure(
        "Regions that make a pair similar",
        "Random queries with their nearest right and nearest wrong gallery image: gradient of the "
        "cosine times the features after Block 3, the share of each region in the cosine to first "
        "order. Red raises the cosine, blue lowers it.",
        sheet=Sheet(
            [_query_row(f"query {n}", pairs, limit) for n, pairs in enumerate(queries, start=1)],
            scales=[color_scale("share", blue_to_red, f"{-limit:.2g}", f"{limit:.2g}")],
        ),
    )


def _query_row(label: str, pairs: Sequence[ExplainedPair], limit: float) -> SheetRow:
    tiles = [SheetTile(picture_url(pairs[0].query), label, ["query"], QUERY)]
    return SheetRow(label, tiles + [tile for pair in pairs for tile in _pair_tiles(pair, limit)])


def _pair_tiles(pair: ExplainedPair, limit: float) -> list[SheetTile]:
    """A gallery image, then the regions of the query and of it."""
    words = [pair.heading, f"cosine {pair.similarity:.3f}"]
    tiles = [SheetTile(picture_url(pair.gallery), pair.heading, words)]
    maps = {"query": (pair.query, pair.query_map), "gallery": (pair.gallery, pair.gallery_map)}
    for name, (image, values) in maps.items():
        layer = smooth_map(values, *image.shape[:2])
        drawn = overlay_map(image, layer, blue_to_red, -limit, limit)
        tiles.append(SheetTile(picture_url(drawn), f"regions of the {name}", [f"{name}, regions"]))
    return tiles


_SYMBOLS = {VISIBLE: "circle", INFRARED: "triangle"}


def _embedding_map(subject: Subject) -> ReportFigure:
    planes, rows = map_planes(subject)
    pids, modality = subject.pids[rows], subject.modality[rows]
    colors = [f"rgb({','.join(map(str, c))})" for c in np.rint(255 * identity_colors(pids))]
    names = [f"identity {p}, {MODALITY_NAMES[m]}" for p, m in zip(pids, modality, strict=True)]
    return ReportFigure(
        "Test embeddings in the plane",
        f"t-SNE of {len(rows)} test images of {len(set(pids))} identities. Color is identity. "
        "Circles are visible images, triangles infrared ones. The axes have no unit.",
        maps=[
            PointMap(
                heading.capitalize(),
                plane[:, 0].tolist(),
                plane[:, 1].tolist(),
                colors,
                [_SYMBOLS[kind] for kind in modality],
                names,
            )
            for heading, plane in planes.items()
        ],
    )


def _distances(subject: Subject) -> ReportFigure:
    distances = compare_distances(subject)
    ends = [h.edges[0] for h in distances.values()], [h.edges[-1] for h in distances.values()]
    return ReportFigure(
        "Distances between the modalities",
        "Cosine distances of all visible-infrared pairs of one identity and of two. The overlap "
        "is the sum over the bins of the smaller share.",
        charts=[
            _histogram_chart(heading, histogram, min(ends[0]), max(ends[1]))
            for heading, histogram in distances.items()
        ],
    )


def _histogram_chart(heading: str, histogram: DistanceHistogram, start: float, end: float) -> Chart:
    centers = (histogram.edges[:-1] + histogram.edges[1:]) / 2
    width = histogram.edges[1] - histogram.edges[0]
    kinds = {
        f"same identity, {histogram.num_same:,} pairs": histogram.same,
        f"different identities, {histogram.num_different:,} pairs": histogram.different,
    }
    return Chart(
        f"{heading.capitalize()}: overlap {100 * histogram.overlap:.1f} %",
        "cosine distance",
        f"percent of pairs per bin of {width:.2g}",
        [Series(name, centers.tolist(), (100 * shares).tolist()) for name, shares in kinds.items()],
        start=float(start),
        end=float(end),
        steps=True,
    )
