"""Progressive graph matching: which clusters of the two modalities are one person."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def match_clusters(visible: Tensor, infrared: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Matches clusters by the assignment of least cost exp(-cosine), round by round.

    The first round gives each cluster of the modality that has fewer a partner of its own. Clusters
    of the other modality that are left are assigned in further rounds, each among all clusters.

    Args:
        visible: (V, D), means of clusters, L2-normalized.
        infrared: (R, D).

    Returns:
        For each visible cluster an infrared one, (V,), and the reverse, (R,).
    """
    if len(visible) < len(infrared):
        to_visible, to_infrared = match_clusters(infrared, visible)
        return to_infrared, to_visible
    cost = (-(visible.double() @ infrared.double().T)).exp().cpu().numpy()
    first, partners = linear_sum_assignment(cost)  # as if zero columns made it square
    to_infrared, to_visible = np.full(cost.shape[0], -1), np.empty(cost.shape[1], np.int64)
    to_infrared[first], to_visible[partners] = partners, first
    while len(left := np.flatnonzero(to_infrared < 0)):
        rows, columns = linear_sum_assignment(cost[left])
        to_infrared[left[rows]] = columns
    return to_infrared, to_visible
