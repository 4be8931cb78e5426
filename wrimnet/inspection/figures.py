"""Every figure of a trained model on a test set, written to a folder."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wrimnet.analysis.distance_histogram import count_distances, draw_distance_histograms
from wrimnet.analysis.embedding_map import draw_embedding_map, map_to_plane
from wrimnet.analysis.figure_files import import_matplotlib, save_figure
from wrimnet.analysis.gate_maps import GatedImage, draw_gate_maps
from wrimnet.analysis.ranked_lists import (
    EXCLUDED,
    QUERY,
    RIGHT,
    WRONG,
    ListedImage,
    RankedList,
    draw_ranked_lists,
)
from wrimnet.analysis.similarity_maps import ExplainedPair, draw_similarity_maps
from wrimnet.data.randomness import generator
from wrimnet.evaluation.evaluator import ProtocolRun
from wrimnet.evaluation.progress import ProgressLine
from wrimnet.inspection.gates import gate_maps, miim_placement
from wrimnet.inspection.rankings import Ranking, choose_rankings
from wrimnet.inspection.similarity_gradient import similarity_maps
from wrimnet.inspection.subject import Subject
from wrimnet.modality import INFRARED, MODALITY_NAMES, VISIBLE

LIST_FILE = "figures.json"
_TOP, _REMOVED_SHOWN, _PER_KIND = 10, 2, 3
_MAP_IDENTITIES, _MAP_IMAGES_PER_IDENTITY = 16, 6
_GATE_IDENTITIES, _EXPLAINED_QUERIES = 3, 4
_BOTH = "visible and infrared"


class FigureFile(NamedTuple):
    """A written figure: file name without suffix, and the sentence under it."""

    name: str
    caption: str


def write_figures(subject: Subject, folder: str | Path) -> list[FigureFile]:
    """Draws every figure and writes PNG, SVG and a list of them with their captions.

    Raises:
        MatplotlibMissingError: matplotlib is not installed; nothing is computed.
        ValueError: the test set is too small for a figure.
    """
    import_matplotlib()
    drawings = list(_drawings(subject))
    written = []
    with ProgressLine("drawing", len(drawings), "figures") as progress:
        for name, caption, draw in drawings:
            save_figure(draw(), folder, name)
            written.append(FigureFile(name, caption))
            progress.advance(1)
    content = {
        "model_hash": subject.trained.facts.model_hash,
        "figures": [figure._asdict() for figure in written],
    }
    Path(folder, LIST_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return written


def _drawings(subject: Subject) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    for run in subject.runs:
        yield (
            f"ranked_{run.protocol.name}",
            f"Ranked lists under {run.protocol.name}, first trial: the queries with the highest "
            "and the lowest average precision, and random ones.",
            lambda run=run: draw_rankings(subject, run),
        )
    yield (
        "embedding_map",
        f"t-SNE of test embeddings: colour is identity, marker is modality; "
        f"{_MAP_IDENTITIES} identities at most.",
        lambda: draw_map(subject),
    )
    yield (
        "distances",
        "Cosine distances between visible and infrared images; the overlap is the sum over the "
        "bins of the smaller share.",
        lambda: draw_distances(subject),
    )
    if subject.trained.model.backbone.miims:
        yield (
            "gates",
            "What the MIIM after each Block multiplies its features with (sigmoid of F5), mean "
            "over the channels. Dark is low, bright is high; the range is printed below each map.",
            lambda: draw_gates(subject),
        )
    yield (
        "similarity",
        "Which regions make a pair similar: gradient of the cosine times the features after "
        "Block 3. Red raises it, blue lowers it.",
        lambda: draw_similarity(subject),
    )


def draw_rankings(subject: Subject, run: ProtocolRun) -> Any:
    """Draws a protocol's ranked lists."""
    rankings = choose_rankings(subject, run, _PER_KIND)
    title = subject.title(f"Ranked lists, {run.protocol.name}", run.protocol.direction)
    return draw_ranked_lists(title, [_ranked_list(subject, ranking) for ranking in rankings])


def _ranked_list(subject: Subject, ranking: Ranking) -> RankedList:
    pid = subject.items[ranking.query].pid

    def listed(place: int, status: str, rank: int) -> ListedImage:
        row = int(ranking.order[place])
        words = f"{rank}: id {subject.items[row].pid}\n{ranking.similarity[place]:.3f}"
        return ListedImage(subject.picture(row), status, words)

    kept = np.flatnonzero(~ranking.removed)[:_TOP]
    gone = np.flatnonzero(ranking.removed)[:_REMOVED_SHOWN]
    found = [
        (place, RIGHT if subject.items[ranking.order[place]].pid == pid else WRONG)
        for place in kept
    ]
    query = ListedImage(
        subject.picture(ranking.query), QUERY, f"query id {pid}\ncamera "
        f"{subject.items[ranking.query].camid}",
    )  # fmt: skip
    return RankedList(
        label=f"{ranking.kind}\nAP {100 * ranking.average_precision:.0f} %",
        query=query,
        ranked=[listed(place, status, rank) for rank, (place, status) in enumerate(found, 1)],
        removed=[
            listed(place, EXCLUDED, int((~ranking.removed[:place]).sum()) + 1) for place in gone
        ],
    )


def draw_map(subject: Subject) -> Any:
    """Draws t-SNE before and after training, of the same images."""
    rows = _rows_of_identities(subject, _MAP_IDENTITIES, _MAP_IMAGES_PER_IDENTITY, "embedding map")
    panels = {
        "before training": map_to_plane(subject.embeddings_before[rows], seed=subject.seed),
        "after training": map_to_plane(subject.embeddings[rows], seed=subject.seed),
    }
    title = subject.title("t-SNE of test embeddings", _BOTH)
    return draw_embedding_map(title, panels, subject.pids[rows], subject.modality[rows])


def draw_distances(subject: Subject) -> Any:
    """Draws the distance histograms before and after training."""
    panels = {
        heading: count_distances(embeddings, subject.pids, subject.modality)
        for heading, embeddings in (
            ("before training", subject.embeddings_before),
            ("after training", subject.embeddings),
        )
    }
    return draw_distance_histograms(
        subject.title("Distances across the modalities", "visible to infrared"), panels
    )


def draw_gates(subject: Subject) -> Any:
    """Draws the gates for a visible and an infrared image of some identities."""
    model, rows = subject.trained.model, []
    for row in _rows_of_identities(subject, _GATE_IDENTITIES, 1, "gates"):
        modality = subject.items[row].modality
        gates = gate_maps(model, subject.network_input([row]), modality)
        label = f"id {subject.items[row].pid}\n{MODALITY_NAMES[modality]}"
        maps = {block: values[0] for block, values in gates.items()}
        rows.append(GatedImage(subject.picture(row), label, maps))
    return draw_gate_maps(subject.title("MIIM gates", _BOTH), rows, miim_placement(model))


def draw_similarity(subject: Subject) -> Any:
    """Draws why random queries are near a right and a wrong gallery image."""
    run = subject.runs[0]
    rankings = [r for r in choose_rankings(subject, run, _EXPLAINED_QUERIES) if r.kind == "random"]
    rankings = rankings or choose_rankings(subject, run, 1)
    pairs = [_explained_pairs(subject, ranking) for ranking in rankings]
    title = subject.title("Regions that make a pair similar", run.protocol.direction)
    return draw_similarity_maps(title, pairs)


def _explained_pairs(subject: Subject, ranking: Ranking) -> list[ExplainedPair]:
    pid, kept = subject.items[ranking.query].pid, ranking.order[~ranking.removed]
    right = next(row for row in kept if subject.items[row].pid == pid)
    wrong = next(row for row in kept if subject.items[row].pid != pid)
    return [
        _explain(subject, ranking.query, int(right), "nearest right"),
        _explain(subject, ranking.query, int(wrong), "nearest wrong"),
    ]


def _explain(subject: Subject, query: int, gallery: int, heading: str) -> ExplainedPair:
    images = subject.network_input([query, gallery])
    modalities = subject.items[query].modality, subject.items[gallery].modality
    maps = similarity_maps(
        subject.trained.model, subject.trained.parts, (images[0], images[1]), modalities
    )
    return ExplainedPair(
        heading=heading,
        query=subject.picture(query),
        gallery=subject.picture(gallery),
        query_map=maps.first,
        gallery_map=maps.second,
        similarity=maps.similarity,
    )


def _rows_of_identities(subject: Subject, count: int, per_modality: int, stream: str) -> list[int]:
    """Rows of random identities that both modalities show, so many images of each modality."""
    by_pid = {
        modality: set(subject.pids[subject.modality == modality])
        for modality in (VISIBLE, INFRARED)
    }
    both = sorted(by_pid[VISIBLE] & by_pid[INFRARED])
    draw = generator(subject.seed, stream, 0)
    rows: list[int] = []
    for pid in sorted(draw.permutation(both)[:count]):
        for modality in (VISIBLE, INFRARED):
            found = np.flatnonzero((subject.pids == pid) & (subject.modality == modality))
            rows += sorted(draw.permutation(found)[:per_modality])
    return [int(row) for row in rows]
