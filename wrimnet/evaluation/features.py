"""Any model's features, from files, under a protocol of this project."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wrimnet.atomic_files import require_file, write_file
from wrimnet.data.images import ImageItem
from wrimnet.data.protocols import Protocol
from wrimnet.evaluation.galleries import OfficialPermutations, build_trials
from wrimnet.evaluation.results import ProtocolResult
from wrimnet.evaluation.scoring import Scoring, score_trials
from wrimnet.metrics.distances import unit_rows
from wrimnet.metrics.exclusion import camera_rule
from wrimnet.metrics.names import PRINTED
from wrimnet.metrics.ranking import Labels, rank_queries, summarize_scores
from wrimnet.registries import find_dataset, find_metrics

_logger = logging.getLogger("fastreid.wrimnet.evaluation")
_DISTANCE_ARRAYS = ("dist", "q_pids", "g_pids", "q_cams", "g_cams")


def load_features(path: str | Path, dataset: str) -> tuple[list[ImageItem], dict[str, np.ndarray]]:
    """Reads ``paths`` (N,), ``features`` (N, D) and, if there, ``test_ids`` from an npz file.

    Several parts of a feature are ``features/NAME`` each. Modalities may be separate, as
    ``visible/paths``, ``visible/features`` and so on. The paths are in the dataset's own layout;
    ``test_ids`` restricts what is returned.

    Returns:
        The images, and by part, "features" where it has no name, their features (N, D_part).

    Raises:
        FileNotFoundError: there is no such file.
        KeyError: an array is missing.
        ValueError: an array has the wrong shape or dtype, a path does not fit the layout, comes
            twice or is no test image's, an identity of ``test_ids`` has no image, or all features
            of an image are zero.
    """
    arrays = load_arrays(path)
    sides = [side for side in ("", "visible/", "infrared/") if f"{side}paths" in arrays] or [""]
    paths, parts = zip(*(_read_side(path, arrays, side) for side in sides), strict=True)
    if len({tuple((name, part.shape[1]) for name, part in of.items()) for of in parts}) > 1:
        raise ValueError(f"{path}: {' and '.join(sides)} have parts of other names or lengths")
    features = {name: np.concatenate([of[name] for of in parts]) for name in parts[0]}
    items = parse_items([relpath for of_side in paths for relpath in of_side], dataset)
    rows = np.arange(len(items))
    if "test_ids" in arrays:
        rows = _rows_of(path, arrays["test_ids"], items)
    items = [items[row] for row in rows]
    check_test_images(items, dataset)
    features = {name: part[rows] for name, part in features.items()}
    check_not_zero(list(features.values()), items)
    return items, features


def save_features(
    path: str | Path, items: Sequence[ImageItem], features: np.ndarray | Mapping[str, np.ndarray]
) -> None:
    """Writes features (N, D) of N images, or several parts by name, as :func:`load_features` reads.

    Raises:
        ValueError: features that are not one row per image.
    """
    named = features if isinstance(features, Mapping) else {"": features}
    arrays = {f"features/{name}" if name else "features": part for name, part in named.items()}
    for name, part in arrays.items():
        if part.ndim != 2 or len(part) != len(items):
            raise ValueError(f"{name} has shape {part.shape}, expected ({len(items)}, D)")
    paths = np.array([item.relpath for item in items], dtype=str)
    content: dict[str, Any] = {"paths": paths, **arrays}
    write_file(Path(path), lambda file: np.savez(file, **content))


def _read_side(
    path: str | Path, arrays: dict[str, np.ndarray], side: str
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Paths and features by part of one modality, or of both together."""
    whole = f"{side}features"
    names = sorted(name for name in arrays if name == whole or name.startswith(f"{whole}/"))
    missing = [name for name in (f"{side}paths", whole) if name not in arrays]
    if f"{side}paths" in missing or not names:
        raise KeyError(f"{path} lacks {missing}; it has {sorted(arrays)}")
    paths = arrays[f"{side}paths"]
    if paths.ndim != 1 or paths.dtype.kind != "U":
        raise ValueError(f"{path}: paths is {paths.dtype} {paths.shape}, expected strings (N,)")
    for name in names:
        if arrays[name].ndim != 2 or len(arrays[name]) != len(paths):
            raise ValueError(
                f"{path}: {name} has shape {arrays[name].shape}, expected ({len(paths)}, D)"
            )
    return paths.tolist(), {name.removeprefix(f"{whole}/").removeprefix(side): arrays[name]
                            for name in names}  # fmt: skip


def _rows_of(path: str | Path, test_ids: np.ndarray, items: Sequence[ImageItem]) -> np.ndarray:
    if test_ids.ndim != 1 or test_ids.dtype.kind not in "iu":
        raise ValueError(f"{path}: test_ids is {test_ids.dtype} {test_ids.shape}, expected integers"
                         " (n,)")  # fmt: skip
    pids = [item.pid for item in items]
    absent = np.setdiff1d(test_ids, pids)
    if absent.size:
        raise ValueError(f"{path}: no image of test_ids {absent.tolist()} among the paths")
    return np.flatnonzero(np.isin(pids, test_ids))


def check_test_images(items: Sequence[ImageItem], dataset: str) -> None:
    """Raises ValueError if images of training are among those that are to be tested on.

    Warns where they are not as many as the dataset's published test images.
    """
    tested = find_dataset(dataset)
    others = [i.relpath for i in items if i.relpath.partition("/")[0] in tested.train_folders]
    if others:
        raise ValueError(
            f"{others[0]!r} and {len(others) - 1} more of {len(items)} paths are in "
            f"{tested.title}'s training folders, which also hold copies of test images; leave "
            "these features out"
        )
    published = (tested.expected_counts or {}).get("test", {})
    num_ids = len({item.pid for item in items})
    if published and num_ids > published["identities"]:
        raise ValueError(
            f"the features are of {num_ids} identities, but {tested.title}'s test set has "
            f"{published['identities']}: some are of training images. Leave these out, or list "
            "the test identities in test_ids"
        )
    if published and len(items) != published["images"]:
        _logger.warning(
            "these are features of %d images of %d identities, %s tests on %d of %d: the results "
            "are not comparable with published ones",
            *(len(items), num_ids, tested.title, published["images"], published["identities"]),
        )


def parse_items(relpaths: Sequence[str], dataset: str) -> list[ImageItem]:
    """Reads identity, camera and modality out of paths in a dataset's layout.

    Raises:
        ValueError: a path does not fit the layout or comes twice.
    """
    if len(set(relpaths)) < len(relpaths):
        twice = Counter(relpaths).most_common(1)[0][0]
        raise ValueError(f"{twice!r} is in paths more than once; keep one feature each")
    parse_relpath = find_dataset(dataset).parse_relpath
    labels = (parse_relpath(path) for path in relpaths)
    return [
        ImageItem(path, pid, camid, modality, path)
        for path, (pid, camid, modality) in zip(relpaths, labels, strict=True)
    ]


def take_lists(items: Sequence[ImageItem], dataset: str, root: str) -> list[ImageItem]:
    """Returns items in the lists of queries and gallery that the dataset below ``root`` names."""
    lists = {item.relpath: item.lists for item in find_dataset(dataset)(root).test}
    return [item._replace(lists=lists.get(item.relpath, ())) for item in items]


def evaluate_features(
    items: Sequence[ImageItem],
    features: np.ndarray,
    protocol: Protocol,
    *,
    draw: str = "agw",
    permutations: OfficialPermutations | None = None,
    num_trials: int = 10,
    scoring: Scoring | None = None,
    metrics: Sequence[str] = PRINTED,
) -> ProtocolResult:
    """Scores features (N, D) of N images; similarity is their dot product as given, in float64.

    "official" needs the permutations. ValueError if features or draw do not fit, or no query has a
    match.
    """
    trials = build_trials(
        protocol, items, draw=draw, num_trials=num_trials, permutations=permutations
    )
    registered = find_metrics(metrics)
    results = score_trials(features, items, trials, protocol, scoring or Scoring(), registered)
    drawn = draw if protocol.drawn_side else ""
    return ProtocolResult(protocol, drawn, ("features",), True, results, tuple(metrics))


def unit_length(features: np.ndarray, items: Sequence[ImageItem]) -> np.ndarray:
    """L2-normalizes features (N, D); raises ValueError for one of norm 0."""
    check_not_zero([features], items)
    return unit_rows(features)


def check_not_zero(parts: Sequence[np.ndarray], items: Sequence[ImageItem]) -> None:
    """Raises ValueError for an image whose parts (N, D_k) are all zero: like everything alike."""
    zero = np.flatnonzero(~np.any([part.any(axis=1) for part in parts], axis=0))
    if zero.size and any(part.size for part in parts):
        raise ValueError(
            f"the features of {items[zero[0]].relpath} and {zero.size - 1} more of {len(items)} "
            "images are zero: they have no direction. Check that all of them were extracted"
        )


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an npz file, by name; ValueError: it is not one, or holds objects."""
    require_file(path, "file")
    with open(path, "rb") as opened:
        if opened.read(6) == b"\x93NUMPY":
            raise ValueError(
                f"{path} holds a single array; write the arrays together by name, as in "
                "numpy.savez(FILE, paths=paths, features=features)"
            )
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file}
    except Exception as error:  # numpy and zipfile raise many types for damaged archives
        said = str(error)  # without numpy's advice to load it unsafely
        reason = "it is none" if "allow_pickle" in said else said
        reason = "it holds Python objects" if "Object arrays" in said else reason
        raise ValueError(
            f"{path} cannot be read as an npz file of plain arrays ({reason}); "
            "write it with numpy.savez"
        ) from error


def evaluate_distances(
    path: str | Path, protocol: Protocol, metrics: Sequence[str] = PRINTED
) -> ProtocolResult:
    """Scores ``dist`` (Q, G) with ``q_pids, g_pids, q_cams, g_cams`` from an npz file.

    One trial without a draw: the file's gallery is the gallery, under the protocol's camera rule.

    Raises:
        FileNotFoundError: there is no such file.
        KeyError: an array is missing.
        ValueError: an array has the wrong shape or dtype, or no query has a match.
    """
    arrays = load_arrays(path)
    missing = [name for name in _DISTANCE_ARRAYS if name not in arrays]
    if missing:
        raise KeyError(f"{path} lacks {missing}; it has {sorted(arrays)}")
    arrays = {name: arrays[name] for name in _DISTANCE_ARRAYS}
    for name in _DISTANCE_ARRAYS[1:]:
        if arrays[name].dtype.kind not in "iu" or arrays[name].ndim != 1:
            raise ValueError(
                f"{path}: {name} is {arrays[name].dtype} {arrays[name].shape}, "
                "expected integers (n,)"
            )
        arrays[name] = arrays[name].astype(np.int64)
    registered = find_metrics(metrics)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    scores = rank_queries(
        tensors["dist"],
        Labels(tensors["q_pids"], tensors["q_cams"]),
        Labels(tensors["g_pids"], tensors["g_cams"]),
        rule=camera_rule(protocol.camera_rule),
        unique_ids=protocol.unique_ids,
        metrics=registered,
    )
    trials = [summarize_scores(scores, registered)]
    return ProtocolResult(protocol, "", ("distances",), True, trials, tuple(metrics))
