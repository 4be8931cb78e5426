"""Any model's features or distances, from files, under a protocol of this project."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from wrimnet.data.items import ImageItem
from wrimnet.data.protocols import Protocol
from wrimnet.evaluation.galleries import OfficialPermutations, build_trials
from wrimnet.evaluation.results import ProtocolResult
from wrimnet.evaluation.scoring import Scoring, score_trials
from wrimnet.metrics.exclusion import camera_rule
from wrimnet.metrics.ranking import Labels, rank_queries, summarise_scores
from wrimnet.registries import find_dataset

_DISTANCE_ARRAYS = ("dist", "q_pids", "g_pids", "q_cams", "g_cams")


def load_features(path: str | Path, dataset: str) -> tuple[list[ImageItem], np.ndarray]:
    """Reads ``paths`` (N,), ``features`` (N, D) and, if there, ``test_ids`` from an npz file.

    The paths are in the dataset's own layout; ``test_ids`` restricts what is returned.

    Raises:
        FileNotFoundError: there is no such file.
        KeyError: an array is missing.
        ValueError: an array has the wrong shape or dtype, a path does not fit the layout or comes
            twice, or an identity of ``test_ids`` has no image.
    """
    arrays = _load(path, ("paths", "features"), ("test_ids",))
    paths, features = arrays["paths"], arrays["features"]
    if paths.ndim != 1 or paths.dtype.kind != "U":
        raise ValueError(f"{path}: paths is {paths.dtype} {paths.shape}, expected strings (N,)")
    if features.ndim != 2 or len(features) != len(paths):
        raise ValueError(f"{path}: features has shape {features.shape}, expected ({len(paths)}, D)")
    items = parse_items(paths.tolist(), dataset)
    if "test_ids" not in arrays:
        return items, features
    test_ids = arrays["test_ids"]
    if test_ids.ndim != 1 or test_ids.dtype.kind not in "iu":
        raise ValueError(f"{path}: test_ids is {test_ids.dtype} {test_ids.shape}, expected integers"
                         " (n,)")  # fmt: skip
    absent = np.setdiff1d(test_ids, [item.pid for item in items])
    if absent.size:
        raise ValueError(f"{path}: no image of test_ids {absent.tolist()} among the paths")
    rows = np.flatnonzero(np.isin([item.pid for item in items], test_ids))
    return [items[row] for row in rows], features[rows]


def parse_items(relpaths: Sequence[str], dataset: str) -> list[ImageItem]:
    """Reads identity, camera and modality out of paths in a dataset's layout.

    Raises:
        ValueError: a path does not fit the layout or comes twice.
    """
    if len(set(relpaths)) < len(relpaths):
        twice = next(path for path in relpaths if relpaths.count(path) > 1)
        raise ValueError(f"{twice!r} comes more than once among the paths; keep one feature each")
    parse_relpath = find_dataset(dataset).parse_relpath
    return [ImageItem(path, *parse_relpath(path), path) for path in relpaths]


def evaluate_features(
    items: Sequence[ImageItem],
    features: np.ndarray,
    protocol: Protocol,
    *,
    draw: str = "agw",
    permutations: OfficialPermutations | None = None,
    num_trials: int = 10,
    normalize: bool = False,
    scoring: Scoring | None = None,
) -> ProtocolResult:
    """Scores features (N, D) of N images; similarity is their dot product as given, in float64.

    Args:
        items: N images.
        features: (N, D) float32 or float64.
        protocol: who queries whom.
        draw: "agw" or "official", the latter with its permutations.
        permutations: for the official draw.
        num_trials: gallery draws.
        normalize: scale the features to unit length first.
        scoring: options.

    Raises:
        ValueError: features or draw do not fit, or no query has a match.
    """
    trials = build_trials(
        protocol, items, draw=draw, num_trials=num_trials, permutations=permutations
    )
    features = _unit_length(features, items) if normalize else features
    metrics = score_trials(features, items, trials, protocol, scoring or Scoring())
    drawn = draw if protocol.drawn_side else ""
    return ProtocolResult(protocol, drawn, ("features",), True, metrics)


def evaluate_distances(path: str | Path, protocol: Protocol) -> ProtocolResult:
    """Scores ``dist`` (Q, G) with ``q_pids, g_pids, q_cams, g_cams`` from an npz file.

    One trial without a draw: the file's gallery is the gallery, under the protocol's camera rule.

    Raises:
        FileNotFoundError: there is no such file.
        KeyError: an array is missing.
        ValueError: an array has the wrong shape or dtype, or no query has a match.
    """
    arrays = _load(path, _DISTANCE_ARRAYS, ())
    for name in _DISTANCE_ARRAYS[1:]:
        if arrays[name].dtype.kind not in "iu" or arrays[name].ndim != 1:
            raise ValueError(
                f"{path}: {name} is {arrays[name].dtype} {arrays[name].shape}, "
                "expected integers (n,)"
            )
        arrays[name] = arrays[name].astype(np.int64)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    scores = rank_queries(
        tensors["dist"],
        Labels(tensors["q_pids"], tensors["q_cams"]),
        Labels(tensors["g_pids"], tensors["g_cams"]),
        rule=camera_rule(protocol.camera_rule),
        unique_ids=protocol.unique_ids,
    )
    return ProtocolResult(protocol, "", ("distances",), True, [summarise_scores(scores)])


def _unit_length(features: np.ndarray, items: Sequence[ImageItem]) -> np.ndarray:
    length = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    if (length == 0).any():
        row = int(np.flatnonzero(length[:, 0] == 0)[0])
        raise ValueError(f"the features of {items[row].relpath} (row {row}) are zero: no direction")
    return features / length


def _load(
    path: str | Path, required: Sequence[str], optional: Sequence[str]
) -> dict[str, np.ndarray]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in required if name not in file]
            if missing:
                raise KeyError(f"{path} lacks {missing}; it has {sorted(file)}")
            return {name: file[name] for name in (*required, *optional) if name in file}
    except (ValueError, OSError, EOFError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{path} cannot be read as an npz file of plain arrays ({error}); "
            "write it with numpy.savez"
        ) from error
