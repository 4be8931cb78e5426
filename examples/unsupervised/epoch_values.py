"""What the log says of the pseudo labels of an epoch."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from examples.unsupervised.measures import coverage, main_identities, matched_purity, purity
from wrimnet.modality import INFRARED, VISIBLE

NAMES = {VISIBLE: "visible", INFRARED: "infrared"}


def epoch_values(
    labels: np.ndarray, modality: np.ndarray, pids: np.ndarray, matches: Mapping[int, Tensor]
) -> dict[str, float]:
    """Returns clusters, outliers and matched pairs; purity and coverage where identities exist.

    Args:
        labels: pseudo labels (N,), a modality's own; -1 for outliers.
        modality: (N,).
        pids: identities (N,), all the same where nobody knows them.
        matches: by modality, of each of its clusters a cluster of the other.
    """
    pseudo_labels = {kind: labels[modality == kind] for kind in NAMES}
    values = {}
    for kind, name in NAMES.items():
        values[f"clusters_{name}"] = float(pseudo_labels[kind].max() + 1)
        values[f"outliers_{name}"] = float((pseudo_labels[kind] < 0).sum())
    values["matched_pairs"] = float(max(len(of) for of in matches.values()))
    if len(np.unique(pids)) > 1:
        values |= _agreement(
            pseudo_labels, {kind: pids[modality == kind] for kind in NAMES}, matches
        )
    return values


def _agreement(
    labels: Mapping[int, np.ndarray], pids: Mapping[int, np.ndarray], matches: Mapping[int, Tensor]
) -> dict[str, float]:
    """How clusters and matches agree with identities."""
    values = {}
    for kind, name in NAMES.items():
        values[f"purity_{name}"] = purity(labels[kind], pids[kind])
        values[f"coverage_{name}"] = coverage(labels[kind], pids[kind])
    main = {kind: main_identities(labels[kind], pids[kind]) for kind in NAMES}
    more = max(NAMES, key=lambda kind: len(matches[kind]))
    nearest = matches[more].cpu().numpy()
    values["purity_matches"] = matched_purity(nearest, main[more], main[VISIBLE + INFRARED - more])
    return values


def in_words(values: Mapping[str, float]) -> str:
    """Writes the values in a line."""
    said = {name: f"{value:.3f}" if _is_share(name) else f"{value:.0f}"
            for name, value in values.items()}  # fmt: skip
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in said.items())


def _is_share(name: str) -> bool:
    return name.startswith(("purity", "coverage"))
