"""Ranking metrics by definition: sort each query's distances and walk down its list.

Slow on purpose and frozen. ``rank_by_walking`` keeps the cost of the loops that the field's
published evaluators run: the whole matrix is sorted, then each list is walked entry by entry in
Python to take the precision at every rank. ``rank_by_numpy`` states the same per query in array
operations, the quickest form that still visits one query at a time.
"""

import numpy as np


def removed_by_rule(rule, query_pid, query_camid, gallery_pids, gallery_camids):
    """Gallery images that one query never sees, (G,)."""
    if rule == "sysu_cam3_never_sees_cam2":
        return (gallery_camids == 2) & (query_camid == 3)
    if rule == "llcm_same_identity_same_camera":
        return (gallery_pids == query_pid) & (gallery_camids == query_camid)
    assert rule == "none"
    return np.zeros(len(gallery_pids), dtype=bool)


def first_appearances(values):
    """The distinct values in the order in which they first appear."""
    _, first = np.unique(values, return_index=True)
    return values[np.sort(first)]


def rank_by_walking(
    dist, query_pids, gallery_pids, query_camids, gallery_camids, rule, unique_ids, length=20
):
    """CMC (length,), mAP and mINP over the queries that have a match, and how many have none."""
    orders = np.argsort(dist, axis=1, kind="stable")
    curves, precisions, penalties = [], [], []
    for query, order in enumerate(orders):
        pid = query_pids[query]
        removed = removed_by_rule(
            rule, pid, query_camids[query], gallery_pids[order], gallery_camids[order]
        )
        ids = gallery_pids[order][~removed]
        hits = (ids == pid).astype(np.int32)
        if not hits.any():
            continue
        listed = first_appearances(ids) if unique_ids else ids
        curves.append(np.minimum((listed == pid).cumsum(), 1)[:length])
        found = hits.cumsum()
        precision = [count / (rank + 1.0) for rank, count in enumerate(found)]
        precisions.append((np.asarray(precision) * hits).sum() / hits.sum())
        penalties.append(hits.sum() / (np.flatnonzero(hits)[-1] + 1.0))
    return _means(curves, precisions, penalties, len(dist), length)


def rank_by_numpy(
    dist, query_pids, gallery_pids, query_camids, gallery_camids, rule, unique_ids, length=20
):
    """The same, without a Python loop over a list's entries."""
    curves, precisions, penalties = [], [], []
    for query in range(len(dist)):
        order = np.argsort(dist[query], kind="stable")
        pid = query_pids[query]
        removed = removed_by_rule(rule, pid, query_camids[query], gallery_pids, gallery_camids)
        ids = gallery_pids[order][~removed[order]]
        ranks = np.flatnonzero(ids == pid) + 1
        if ranks.size == 0:
            continue
        listed = first_appearances(ids) if unique_ids else ids
        curves.append(np.minimum((listed == pid).cumsum(), 1)[:length])
        precisions.append(np.mean(np.arange(1, ranks.size + 1) / ranks))
        penalties.append(ranks.size / ranks[-1])
    return _means(curves, precisions, penalties, len(dist), length)


def _means(curves, precisions, penalties, num_queries, length):
    assert curves, "no query has a match"
    padded = [np.pad(curve, (0, length - len(curve)), mode="edge") for curve in curves]
    cmc = np.asarray(padded).astype(np.float32).sum(0) / np.float32(len(curves))
    return cmc, np.mean(precisions), np.mean(penalties), num_queries - len(curves)
