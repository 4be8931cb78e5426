"""Every figure of a trained model on a test set, written to a folder."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from wrimnet.console import say
from wrimnet.data.randomness import generator
from wrimnet.evaluation.evaluator import ProtocolRun
from wrimnet.modality import INFRARED, MODALITY_NAMES, VISIBLE
from wrimnet.run_folder import FIGURE_LIST, write_json
from wrimnet.visualization.drawing import import_matplotlib, save_figure
from wrimnet.visualization.embeddings import (
    count_distances,
    draw_distance_histograms,
    draw_embedding_map,
    map_to_plane,
)
from wrimnet.visualization.gates import (
    GatedImage,
    draw_gate_maps,
    gate_maps,
    miim_placement,
    named_miims,
)
from wrimnet.visualization.ranked_lists import Ranking, draw_ranked_lists, listed
from wrimnet.visualization.similarity import ExplainedPair, draw_similarity_maps, similarity_maps
from wrimnet.visualization.subject import Subject

_PER_KIND = 3
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
    for name, caption, draw in tqdm(drawings, "drawing figures", disable=None, leave=False):
        save_figure(draw(), folder, name)
        say(f"figure   {Path(folder, name)}.png")
        written.append(FigureFile(name, caption))
    content = {
        "model_hash": subject.trained.facts.model_hash,
        "figures": [figure._asdict() for figure in written],
    }
    write_json(Path(folder, FIGURE_LIST), content)
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
    if named_miims(subject.trained.model):
        yield (
            "gates",
            "What the MIIM after each Block multiplies its features with (sigmoid of F5), mean "
            "over the channels, on one scale per Block; the range is printed below each map. Grey "
            "is flat: it varies by less than 0.001.",
            lambda: draw_gates(subject),
        )
    if subject.trained.model.explained_layer() is None:
        return
    yield (
        "similarity",
        "Which regions make a pair similar: gradient of the cosine times the features after "
        "Block 3. Red raises it, blue lowers it.",
        lambda: draw_similarity(subject),
    )


def draw_rankings(subject: Subject, run: ProtocolRun) -> Any:
    """Draws a protocol's ranked lists."""
    rankings = subject.rankings(run, _PER_KIND)
    title = subject.title(f"Ranked lists, {run.protocol.name}", run.protocol.direction)
    return draw_ranked_lists(title, [listed(ranking, subject.items) for ranking in rankings])


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
    of_both = {"before training": subject.embeddings_before, "after training": subject.embeddings}
    panels = {
        heading: count_distances(embeddings, subject.pids, subject.modality)
        for heading, embeddings in of_both.items()
    }
    title = subject.title("Distances across the modalities", "visible to infrared")
    return draw_distance_histograms(title, panels)


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
    rankings = [r for r in subject.rankings(run, _EXPLAINED_QUERIES) if r.kind == "random"]
    rankings = rankings or subject.rankings(run, 1)
    pairs = [_explained_pairs(subject, ranking) for ranking in rankings]
    title = subject.title("Regions that make a pair similar", run.protocol.direction)
    return draw_similarity_maps(title, pairs)


def _explained_pairs(subject: Subject, ranking: Ranking) -> list[ExplainedPair]:
    pid, kept = subject.items[ranking.query].pid, ranking.order[~ranking.removed]
    right = next(int(row) for row in kept if subject.items[row].pid == pid)
    wrong = next(int(row) for row in kept if subject.items[row].pid != pid)
    found = {"nearest right": right, "nearest wrong": wrong}
    return [_explain(subject, ranking.query, row, heading) for heading, row in found.items()]


def _explain(subject: Subject, query: int, gallery: int, heading: str) -> ExplainedPair:
    images = subject.network_input([query, gallery])
    modalities = subject.items[query].modality, subject.items[gallery].modality
    maps = similarity_maps(
        subject.trained.model, subject.trained.parts, (images[0], images[1]), modalities
    )
    pictures = subject.picture(query), subject.picture(gallery)
    return ExplainedPair(heading, *pictures, maps.first, maps.second, maps.similarity)


def _rows_of_identities(subject: Subject, count: int, per_modality: int, stream: str) -> list[int]:
    """Rows of random identities that both modalities show, so many images of each modality."""
    visible, infrared = (set(subject.pids[subject.modality == m]) for m in (VISIBLE, INFRARED))
    both = sorted(visible & infrared)
    draw = generator(subject.seed, stream, 0)
    rows: list[int] = []
    for pid in sorted(draw.permutation(both)[:count]):
        for modality in (VISIBLE, INFRARED):
            found = np.flatnonzero((subject.pids == pid) & (subject.modality == modality))
            rows += sorted(draw.permutation(found)[:per_modality])
    return [int(row) for row in rows]
