"""Indexes a folder of images and finds those most similar to images of the other modality.

python tools/search.py index --run RUN --images FOLDER --modality visible --index INDEX
python tools/search.py query --run RUN --images IMAGE_OR_FOLDER ... --index INDEX
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from wrimnet.command_line import (
    add_model_options,
    add_several,
    at_least_one,
    make_parser,
    output_file,
    output_folder,
    parse,
    picture_file,
    run_tool,
    setup_model_cfg,
)
from wrimnet.lab.search.index import DTYPES
from wrimnet.modality import INFRARED, MODALITY_NAMES, find_modality
from wrimnet.run_folder import write_json
from wrimnet.tables import counted

if TYPE_CHECKING:
    from wrimnet.inference.embedder import Embedder
    from wrimnet.lab.search.image_folder import FoundImages
    from wrimnet.lab.search.index import EmbeddingIndex
    from wrimnet.visualization.ranked_lists import RankedList

_SHARD_IMAGES = 20_000
_SHEET_QUERIES, _SHEET_RESULTS = 20, 15
_LABEL_SIGNS, _TILE_SIGNS = 40, 13  # of names beside a row of the sheet and below a picture
_TABLES, _LINES = 3, 20  # queries printed with all their results, and with the first one
_COLOR = 4.0  # mean difference of an image's channels, of 255


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = make_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    index = commands.add_parser("index", help="make an index, or append to one")
    add_model_options(index)
    add_several(index, "--images", required=True, help="folders or files")
    index.add_argument("--modality", required=True, help=" or ".join(MODALITY_NAMES))
    index.add_argument("--index", required=True, type=output_folder, metavar="DIR")
    index.add_argument("--dtype", default="float32", choices=DTYPES, help="of a new index")
    query = commands.add_parser("query", help="rank an index by similarity to images")
    add_model_options(query)
    add_several(query, "--images", required=True, help="folders or files")
    query.add_argument("--modality", help="default: the one that the index does not hold")
    query.add_argument("--index", required=True, metavar="DIR")
    query.add_argument("--top", type=at_least_one, default=10, help="results per query")
    sheet_file = picture_file(".png", ".jpg", ".jpeg")
    query.add_argument("--json", type=output_file, metavar="FILE", help="write the ranked lists")
    query.add_argument("--sheet", type=sheet_file, metavar="FILE", help="draw them, PNG or JPEG")
    return parser


def index_images(arguments: argparse.Namespace) -> int:
    """Embeds images and adds them to an index; prints how many and how fast."""
    from wrimnet.atomic_files import sole_writer
    from wrimnet.inference.embedder import build_embedder
    from wrimnet.lab.search.image_folder import list_images
    from wrimnet.lab.search.index import INDEX_FILE, EmbeddingIndex, IndexFacts

    modality = MODALITY_NAMES[find_modality(arguments.modality)]
    listed = list_images(arguments.images)
    paths = listed.paths
    cfg = setup_model_cfg(arguments)
    embedder = build_embedder(cfg)
    facts = IndexFacts(
        model=embedder.facts.name,
        model_hash=embedder.facts.model_hash,
        modality=modality,
        dim=embedder.dim,
        dtype=arguments.dtype,
    )
    arguments.index.mkdir(parents=True, exist_ok=True)
    with sole_writer(arguments.index, "append when it has ended"):
        index = EmbeddingIndex(arguments.index, facts)
        if (arguments.index / INDEX_FILE).exists():
            index = EmbeddingIndex.open(arguments.index)
        index.check_modality(modality)
        index.check_model(embedder.facts.model_hash)
        known = set(index.paths())
        new = [path for path in dict.fromkeys(paths) if path not in known]
        seconds = append_images(index, embedder, new)
    print(
        f"{counted(len(new), f'{modality} image')} indexed in {seconds:.1f} s "
        f"({len(new) / max(seconds, 1e-9):.1f} per second, {embedder.device}), "
        f"{len(paths) - len(new)} were indexed already; {arguments.index} holds {len(index)}"
    )
    warn_of_left_out(listed)
    return 0


def warn_of_left_out(images: FoundImages) -> None:
    """Says which entries of the folders are no images that are read."""
    if images.left_out:
        heic = "; pip install pillow-heif to read .heic" if ".heic" in images.left_out else ""
        print(f"left out of the folders: {images.describe_left_out()}{heic}", file=sys.stderr)


def append_images(index: EmbeddingIndex, embedder: Embedder, paths: Sequence[str]) -> float:
    """Appends images shard by shard, so that a stop loses one shard at most; returns seconds."""
    begin = time.perf_counter()
    for start in range(0, len(paths), _SHARD_IMAGES):
        shard = paths[start : start + _SHARD_IMAGES]
        index.append(embedder.embed(shard, index.facts.modality), shard)
    return time.perf_counter() - begin


def warn_of_colors(queries: Sequence[str], infrared_range: Sequence[float]) -> None:
    """Says how many images that are embedded as infrared have colors."""
    import numpy as np

    from wrimnet.data.images import read_rgb

    def has_colors(path: str) -> bool:  # more of them than compression makes
        pixels = np.asarray(read_rgb(path, infrared_range))
        return float(np.ptp(pixels, axis=2).mean()) > _COLOR

    with ThreadPoolExecutor() as pool:
        flags = pool.map(has_colors, queries)
        colored = [query for query, flag in zip(queries, flags, strict=True) if flag]
    if colored:
        print(f"{len(colored)} of {counted(len(queries), 'image')} that are embedded as infrared "
              f"have colors, such as {colored[0]}; for visible images say --modality visible",
              file=sys.stderr)  # fmt: skip


def query_index(arguments: argparse.Namespace) -> int:
    """Prints the ranked lists of the query images; writes them as JSON and as a picture."""
    from wrimnet.inference.embedder import build_embedder
    from wrimnet.lab.search.exact import find_nearest
    from wrimnet.lab.search.image_folder import list_images
    from wrimnet.lab.search.index import EmbeddingIndex

    index = EmbeddingIndex.open(arguments.index)
    held = find_modality(index.facts.modality)
    modality = find_modality(arguments.modality) if arguments.modality else 1 - held
    listed = list_images(arguments.images)
    queries = listed.paths
    embedder = build_embedder(setup_model_cfg(arguments))
    index.check_model(embedder.facts.model_hash)
    warn_of_left_out(listed)
    if modality == INFRARED:
        warn_of_colors(queries, embedder.extraction.infrared_range)
    begin = time.perf_counter()
    embeddings = embedder.embed(queries, modality)
    nearest = find_nearest(index.arrays(), embeddings, arguments.top, device=embedder.device)
    seconds = time.perf_counter() - begin
    paths = index.paths()
    lists = [
        {
            "query": query,
            "results": [
                {"rank": rank, "similarity": float(similarity), "path": paths[row]}
                for rank, (similarity, row) in enumerate(zip(values, rows, strict=True), start=1)
            ],
        }
        for query, values, rows in zip(queries, nearest.similarity, nearest.rows, strict=True)
    ]
    modalities = modality, held
    print_lists(lists, direction_of(modalities))
    asked, images = counted(len(queries), "query", "queries"), counted(len(index), "image")
    print(f"{asked} among {images} in {seconds:.2f} s")
    write_lists(lists, modalities, embedder, arguments)
    return 0


def direction_of(modalities: tuple[int, int]) -> str:
    """The modalities of queries and index, in words."""
    return " to ".join(MODALITY_NAMES[modality] for modality in modalities)


def print_lists(lists: list[dict], direction: str) -> None:
    """Prints one table per query; of many queries, a line each with the most similar image."""
    if len(lists) > _TABLES:
        print(f"{direction}, the most similar image of each query; all ranks: --json FILE")
        for entry in lists[:_LINES]:
            first = entry["results"][0]
            print(f"  {first['similarity']:7.4f}  {entry['query']}  {first['path']}")
        if len(lists) > _LINES:
            print(f"  and {len(lists) - _LINES} more queries")
        return
    for entry in lists:
        print(f"query ({direction}) {entry['query']}\n  rank  similarity  image")
        for result in entry["results"]:
            print(f"  {result['rank']:4d}  {result['similarity']:10.4f}  {result['path']}")


def write_lists(
    lists: list[dict],
    modalities: tuple[int, int],
    embedder: Embedder,
    arguments: argparse.Namespace,
) -> None:
    """Writes the JSON and the contact sheet where the command line asks for them."""
    from wrimnet.visualization.drawing import save_picture
    from wrimnet.visualization.ranked_lists import draw_ranked_lists

    facts, direction = embedder.facts, direction_of(modalities)
    if arguments.json:
        content = {"model": facts.name, "model_hash": facts.model_hash, "direction": direction}
        write_json(arguments.json, {**content, "queries": lists})
        print(f"ranked lists: {arguments.json}")
    if arguments.sheet:
        title = f"{facts.name} ({facts.weights}), index {arguments.index}, {direction}"
        rows = [sheet_row(entry, modalities) for entry in lists[:_SHEET_QUERIES]]
        infrared_range = embedder.extraction.infrared_range
        save_picture(draw_ranked_lists(title, rows, infrared_range), Path(arguments.sheet))
        most = max(len(row.ranked) for row in rows)
        queries = counted(len(lists), "query", "queries")
        shown = f"{len(rows)} of {queries}, {counted(most, 'result')} of each"
        print(f"contact sheet: {arguments.sheet}, {shown}")


def sheet_row(entry: dict, modalities: tuple[int, int]) -> RankedList:
    """One query and its results; whether they are right is not known, so the frames are gray."""
    from wrimnet.visualization.ranked_lists import QUERY, UNKNOWN, RankedList, Tile

    tiles = [
        Tile(
            result["path"],
            UNKNOWN,
            f"{result['rank']}: {result['similarity']:.3f}\n{name_of(result)}",
            modalities[1],
        )
        for result in entry["results"][:_SHEET_RESULTS]
    ]
    query = Tile(entry["query"], QUERY, "query", modalities[0])
    return RankedList(stem_of(entry["query"])[:_LABEL_SIGNS], query, tiles)


def stem_of(path: str) -> str:
    """A file's name without its ending, bytes that are not UTF-8 escaped: pictures show text."""
    return Path(path).stem.encode("utf-8", "backslashreplace").decode()


def name_of(result: dict) -> str:
    """The end of a result's name that fits below its picture."""
    stem = stem_of(result["path"])
    return stem if len(stem) <= _TILE_SIGNS else f"…{stem[1 - _TILE_SIGNS :]}"


def main() -> int:
    """Runs the command; returns the exit code."""
    arguments = parse(build_parser())
    return (index_images if arguments.command == "index" else query_index)(arguments)


if __name__ == "__main__":
    run_tool(main)
