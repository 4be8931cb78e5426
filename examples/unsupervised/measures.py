"""How well clusters and matches agree with identities; for the log alone, never for training."""

import numpy as np


def purity(labels: np.ndarray, pids: np.ndarray) -> float:
    """Returns the share of the images in clusters that are of their cluster's main identity."""
    kept = labels >= 0
    table = _counts(labels, pids)
    return float(table.max(axis=1).sum() / kept.sum())


def coverage(labels: np.ndarray, pids: np.ndarray) -> float:
    """Returns the share of the identities that are the main one of a cluster."""
    return len(np.unique(main_identities(labels, pids))) / len(np.unique(pids))


def matched_purity(matches: np.ndarray, own: np.ndarray, others: np.ndarray) -> float:
    """Returns the share of clusters whose match has the same main identity.

    ``matches`` (C,) are clusters of the other modality; ``own`` (C,) and ``others`` are main
    identities.
    """
    return float((own == others[matches]).mean())


def main_identities(labels: np.ndarray, pids: np.ndarray) -> np.ndarray:
    """Returns the most frequent identity of each cluster, (C,); the lowest of several."""
    return np.unique(pids)[_counts(labels, pids).argmax(axis=1)]


def _counts(labels: np.ndarray, pids: np.ndarray) -> np.ndarray:
    """Images of each identity in each cluster, (C, identities)."""
    identities, columns = np.unique(pids, return_inverse=True)
    table = np.zeros((labels.max() + 1, len(identities)), np.int64)
    kept = labels >= 0
    np.add.at(table, (labels[kept], columns[kept]), 1)
    return table
