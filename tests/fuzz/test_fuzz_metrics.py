"""Whatever distances and labels: the numbers of the definition, or a ValueError."""

import math

import numpy as np
import pytest
import torch
from fuzz_examples import examples
from hypothesis import given
from hypothesis import strategies as st
from reference.ranking_loop import rank_by_walking

from wrimnet.metrics.exclusion import CAMERA_RULES
from wrimnet.metrics.ranking import Labels, rank_queries, summarize_scores


@st.composite
def searches(draw):
    """Distances (Q, G), ties among them, with labels of both sides; sometimes not fitting."""
    num_queries, num_gallery = draw(st.integers(0, 6)), draw(st.integers(0, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dist = rng.standard_normal((num_queries, num_gallery)).astype(np.float32)
    if draw(st.booleans()):
        dist = np.round(dist * 2) / 2
    if dist.size and draw(st.integers(0, 4)) == 0:
        dist.flat[draw(st.integers(0, dist.size - 1))] = draw(st.sampled_from((np.nan, np.inf)))
    off = draw(st.sampled_from((0, 0, 0, 0, 0, 1)))
    sides = []
    for length in (num_queries, num_gallery + off):
        pids = rng.integers(0, draw(st.integers(1, 5)), length)
        sides.append(Labels(torch.from_numpy(pids), torch.from_numpy(rng.integers(1, 7, length))))
    return torch.from_numpy(dist), *sides


@given(searches(), st.sampled_from(sorted(CAMERA_RULES)), st.booleans())
@examples(60)
def test_ranking(search, rule, unique_ids):
    dist, queries, gallery = search
    try:
        scores = rank_queries(
            dist, queries, gallery, rule=CAMERA_RULES[rule], unique_ids=unique_ids
        )
        metrics = summarize_scores(scores)
    except ValueError as error:
        assert len(str(error)) > 20
        return
    sides = [queries.pids, gallery.pids, queries.camids, gallery.camids]
    cmc, precision, penalty, skipped = rank_by_walking(
        dist.numpy(), *(side.numpy() for side in sides), rule, unique_ids
    )
    assert (metrics.cmc == cmc).all()
    assert metrics.mean_average_precision == pytest.approx(precision, rel=1e-12)
    assert metrics.mean_inverse_negative_penalty == pytest.approx(penalty, rel=1e-12)
    assert metrics.num_skipped == skipped
    assert math.isfinite(metrics.mean_average_precision)
