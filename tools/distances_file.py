"""Any model's distances, from a file, under a protocol of this project."""

from pathlib import Path

import numpy as np
import torch

from wrimnet.data.protocols import Protocol
from wrimnet.evaluation.features import load_arrays
from wrimnet.evaluation.results import ProtocolResult
from wrimnet.metrics.exclusion import camera_rule
from wrimnet.metrics.ranking import Labels, rank_queries, summarise_scores

_DISTANCE_ARRAYS = ("dist", "q_pids", "g_pids", "q_cams", "g_cams")


def evaluate_distances(path: str | Path, protocol: Protocol) -> ProtocolResult:
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
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    scores = rank_queries(
        tensors["dist"],
        Labels(tensors["q_pids"], tensors["q_cams"]),
        Labels(tensors["g_pids"], tensors["g_cams"]),
        rule=camera_rule(protocol.camera_rule),
        unique_ids=protocol.unique_ids,
    )
    return ProtocolResult(protocol, "", ("distances",), True, [summarise_scores(scores)])
