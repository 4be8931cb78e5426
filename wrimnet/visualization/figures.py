"""Every figure of a trained model on a test set, written to a folder."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

import numpy as np
import torch
from fastreid.config import CfgNode
from PIL import Image
from tqdm import tqdm

from wrimnet.data.build import build_dataset
from wrimnet.data.images import ImageItem, read_rgb
from wrimnet.data.randomness import generator
from wrimnet.evaluation.evaluator import ProtocolRun, build_evaluator
from wrimnet.inference.embedder import Embedder, build_embedder, build_embedder_of
from wrimnet.modality import INFRARED, MODALITY_NAMES, VISIBLE
from wrimnet.modeling.weights import build_model, build_without_pretrained
from wrimnet.run_folder import FIGURE_LIST, write_json
from wrimnet.visualization.drawing import add_to_tensorboard, import_matplotlib, save_figure
from wrimnet.visualization.embeddings import (
    DistanceHistogram,
    count_distances,
    draw_distance_histograms,
    draw_embedding_map,
    map_to_plane,
)
from wrimnet.visualization.gate_spread import GateSpread, Spread
from wrimnet.visualization.gates import (
    GatedImage,
    MIIMName,
    blocks_without_gate,
    draw_gate_maps,
    gate_maps,
    gate_name,
    gated_miims,
    intercepted_gates,
    miim_placement,
)
from wrimnet.visualization.ranked_lists import (
    RankedList,
    Ranking,
    choose_rankings,
    draw_ranked_lists,
    listed,
)
from wrimnet.visualization.similarity import ExplainedPair, draw_similarity_maps, similarity_maps

_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console
_PER_KIND = 3
_MAP_IDENTITIES, _MAP_IMAGES_PER_IDENTITY = 16, 6
_GATE_IDENTITIES, _EXPLAINED_QUERIES = 3, 4
_BOTH = "visible and infrared"

_SHOWN_HEIGHT = 192  # pixels of an image in a figure


@dataclass
class Subject:
    """A trained model, the same network without training, and the dataset's test images."""

    trained: Embedder
    untrained: Embedder  # SEED's initialization, ImageNet weights if training starts from them
    items: Sequence[ImageItem]  # N test images of both modalities
    runs: Sequence[ProtocolRun]
    dataset: str  # for titles, with "synthetic" where the images are generated
    seed: int  # of every draw
    untrained_as: str = "before training"  # what figures call the untrained network

    def title(self, what: str, direction: str) -> str:
        """Returns a figure's two title lines: what is shown; model, dataset, direction."""
        facts = self.trained.facts
        return f"{what}\n{facts.name} ({facts.weights}) on {self.dataset}, {direction}"

    @cached_property
    def embeddings(self) -> np.ndarray:
        """(N, D) of the trained model."""
        return self.trained.embed_items(self.items)

    @cached_property
    def embeddings_before(self) -> np.ndarray:
        """(N, D) of the untrained one."""
        return self.untrained.embed_items(self.items)

    @property
    def embeddings_by_heading(self) -> list[tuple[str, np.ndarray]]:
        """Both, as figures put them side by side."""
        untrained = (self.untrained_as, self.embeddings_before)
        return [untrained, ("after training", self.embeddings)]

    @property
    def pids(self) -> np.ndarray:
        """(N,) identities."""
        return np.array([item.pid for item in self.items])

    @property
    def modality(self) -> np.ndarray:
        """(N,) modalities."""
        return np.array([item.modality for item in self.items])

    def rankings(self, run: ProtocolRun, per_kind: int) -> list[Ranking]:
        """Returns queries of each kind with their galleries; see :func:`choose_rankings`."""
        return choose_rankings(self.embeddings, self.items, run, per_kind=per_kind, seed=self.seed)

    def picture(self, row: int) -> np.ndarray:
        """Returns a test image (H, W, 3) uint8, stretched to the shape that the network sees."""
        extraction = self.trained.extraction
        width = round(_SHOWN_HEIGHT * extraction.width / extraction.height)
        return np.asarray(self.read(self.items[row]).resize((width, _SHOWN_HEIGHT)))

    def read(self, item: ImageItem) -> Image.Image:
        """Returns a test image as it is, infrared pixels of more than 8 bits by the run's range."""
        return read_rgb(item.path, self.trained.extraction.range_of(item.modality))

    def network_input(self, rows: Sequence[int]) -> torch.Tensor:
        """Returns test images as the network gets them, (B, H, W, 3) uint8 on its device."""
        chosen, read = [self.items[row] for row in rows], self.trained.extraction.read
        images = np.stack([read(item.path, item.modality) for item in chosen])
        return torch.from_numpy(images).to(self.trained.device)


def build_subject(cfg: CfgNode) -> Subject:
    """Builds the subject of a configuration with MODEL.WEIGHTS."""
    dataset = build_dataset(cfg)
    with torch.random.fork_rng():  # initializing draws; whoever called keeps its generators
        trained = build_embedder(cfg)
        start = trained.facts.lineage[0].get("start", "")
        continued = start.startswith("weights ")  # of another training, which are not here
        torch.manual_seed(cfg.SEED)
        untrained = build_model(build_without_pretrained(cfg) if continued else cfg)
    return Subject(
        trained=trained,
        untrained=build_embedder_of(cfg, untrained, "untrained"),
        items=dataset.test,
        runs=build_evaluator(cfg, dataset).runs,
        dataset=f"{dataset.name} ({dataset.stand_in})" if dataset.stand_in else dataset.name,
        seed=cfg.SEED,
        untrained_as="without training" if continued else "before training",
    )


class FigureFile(NamedTuple):
    """A written figure: file name without suffix, and the sentence under it."""

    name: str
    caption: str


def write_figures(subject: Subject, folder: str | Path) -> list[FigureFile]:
    """Draws every figure and writes PNG, SVG and a list of them with their captions.

    In a run's folder, the run's TensorBoard shows them too.

    Raises:
        MatplotlibMissingError: matplotlib is not installed; nothing is computed.
        ValueError: the test set is too small for a figure.
    """
    import_matplotlib()
    drawings = list(_drawings(subject))
    written = []
    for name, caption, draw in tqdm(drawings, "drawing figures", disable=None, leave=False):
        save_figure(draw(), folder, name)
        _console.info(f"figure   {Path(folder, name)}.png")
        written.append(FigureFile(name, caption))
    content = {
        "model_hash": subject.trained.facts.model_hash,
        "figures": [figure._asdict() for figure in written],
    }
    write_json(Path(folder, FIGURE_LIST), content)
    pictures = {figure.name: Path(folder, f"{figure.name}.png") for figure in written}
    add_to_tensorboard(Path(folder).parent, pictures)
    return written


def _drawings(subject: Subject) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    for run in subject.runs:
        yield (
            f"ranked_{run.protocol.name}",
            f"Ranked lists under {run.protocol.name}, first trial: the queries with the highest "
            "and the lowest average precision, and random ones.",
            partial(draw_rankings, subject, run),
        )
    yield (
        "embedding_map",
        f"t-SNE of test embeddings: color is identity, marker is modality; "
        f"{_MAP_IDENTITIES} identities at most.",
        lambda: draw_map(subject),
    )
    yield (
        "distances",
        "Cosine distances between visible and infrared images; the overlap is the sum over the "
        "bins of the smaller share.",
        lambda: draw_distances(subject),
    )
    yield from _gate_drawings(subject)
    if subject.trained.model.explained_layer() is None:
        return
    yield (
        "similarity",
        "Which regions make a pair similar: gradient of the cosine times the features after "
        "Block 3. Red raises it, blue lowers it.",
        lambda: draw_similarity(subject),
    )


def _gate_drawings(subject: Subject) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    model = subject.trained.model
    without = "; ".join(blocks_without_gate(model))
    note = f" Without a gate: {without}." if without else ""
    if gated_miims(model):
        yield (
            "gates",
            f"What the MIIM after each Block multiplies its features with: {gate_name(model)}, "
            "mean over the channels, on one scale per Block; the range is printed below each map. "
            f"Gray is flat: it varies by less than 0.001.{note}",
            lambda: draw_gates(subject),
        )
    elif note:
        _console.info(f"figure   no figure of gates.{note}")


def list_rankings(subject: Subject, run: ProtocolRun) -> list[RankedList]:
    """Returns a protocol's best, random and worst queries, each with what it found."""
    return [listed(ranking, subject.items) for ranking in subject.rankings(run, _PER_KIND)]


def draw_rankings(subject: Subject, run: ProtocolRun) -> Any:
    """Draws a protocol's ranked lists."""
    title = subject.title(f"Ranked lists, {run.protocol.name}", run.protocol.direction)
    infrared_range = subject.trained.extraction.infrared_range
    return draw_ranked_lists(title, list_rankings(subject, run), infrared_range)


def map_planes(subject: Subject) -> tuple[dict[str, np.ndarray], list[int]]:
    """Returns t-SNE before and after training, (M, 2) by heading, and the M images' rows."""
    rows = _rows_of_identities(subject, _MAP_IDENTITIES, _MAP_IMAGES_PER_IDENTITY, "embedding map")
    of_both = subject.embeddings_by_heading
    planes = {name: map_to_plane(rows_of[rows], seed=subject.seed) for name, rows_of in of_both}
    return planes, rows


def draw_map(subject: Subject) -> Any:
    """Draws t-SNE before and after training, of the same images."""
    planes, rows = map_planes(subject)
    title = subject.title("t-SNE of test embeddings", _BOTH)
    return draw_embedding_map(title, planes, subject.pids[rows], subject.modality[rows])


def compare_distances(subject: Subject) -> dict[str, DistanceHistogram]:
    """Returns the histograms of distances before and after training, by heading."""
    return {
        heading: count_distances(embeddings, subject.pids, subject.modality)
        for heading, embeddings in subject.embeddings_by_heading
    }


def draw_distances(subject: Subject) -> Any:
    """Draws the distance histograms before and after training."""
    title = subject.title("Distances across the modalities", "visible to infrared")
    return draw_distance_histograms(title, compare_distances(subject))


def gated_images(subject: Subject) -> list[GatedImage]:
    """Returns a visible and an infrared image of some identities with their gates."""
    rows = []
    for row in _rows_of_identities(subject, _GATE_IDENTITIES, 1, "gates"):
        modality = subject.items[row].modality
        gates = gate_maps(subject.trained.model, subject.network_input([row]), modality)
        label = f"id {subject.items[row].pid}\n{MODALITY_NAMES[modality]}"
        maps = {block: values[0] for block, values in gates.items()}
        rows.append(GatedImage(subject.picture(row), label, maps))
    return rows


def gate_spreads(subject: Subject) -> dict[MIIMName, Spread]:
    """Returns mean and variance of the gates of each MIIM on the images of the embedding map."""
    rows = _rows_of_identities(subject, _MAP_IDENTITIES, _MAP_IMAGES_PER_IDENTITY, "embedding map")
    gathered: dict[MIIMName, GateSpread] = defaultdict(GateSpread)

    def gather(name: MIIMName, gates: torch.Tensor) -> torch.Tensor:
        gathered[name].add(gates.float().cpu().numpy())
        return gates

    with intercepted_gates(subject.trained.model, gather):
        subject.trained.embed_items([subject.items[row] for row in rows])
    return {name: gates.spread() for name, gates in gathered.items()}


def draw_gates(subject: Subject) -> Any:
    """Draws the gates for a visible and an infrared image of some identities."""
    placement = miim_placement(subject.trained.model)
    return draw_gate_maps(subject.title("MIIM gates", _BOTH), gated_images(subject), placement)


def explain_pairs(subject: Subject) -> list[list[ExplainedPair]]:
    """Explains why random queries are near a right and a wrong gallery image."""
    run = subject.runs[0]
    rankings = [r for r in subject.rankings(run, _EXPLAINED_QUERIES) if r.kind == "random"]
    rankings = rankings or subject.rankings(run, 1)
    return [_explained_pairs(subject, ranking) for ranking in rankings]


def draw_similarity(subject: Subject) -> Any:
    """Draws why random queries are near a right and a wrong gallery image."""
    direction = subject.runs[0].protocol.direction
    title = subject.title("Regions that make a pair similar", direction)
    return draw_similarity_maps(title, explain_pairs(subject))


def _explained_pairs(subject: Subject, ranking: Ranking) -> list[ExplainedPair]:
    pid, kept = subject.items[ranking.query].pid, ranking.order[~ranking.removed]
    right = next(int(row) for row in kept if subject.items[row].pid == pid)
    wrong = next(int(row) for row in kept if subject.items[row].pid != pid)
    pairs = {"nearest right": right, "nearest wrong": wrong}
    return [_explain(subject, ranking.query, row, heading) for heading, row in pairs.items()]


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
            rows_of_pid = np.flatnonzero((subject.pids == pid) & (subject.modality == modality))
            rows += sorted(draw.permutation(rows_of_pid)[:per_modality])
    return [int(row) for row in rows]
