"""Whatever batch goes into a loss: the definition's value, NaN or infinity, or a ValueError."""

import math

import numpy as np
import pytest
import torch
from fuzz_examples import examples
from hypothesis import given
from hypothesis import strategies as st
from reference.classification_loop import classification_loop
from reference.cmkic_loop import cmkic_loop
from reference.triplet_loop import triplet_loop

from wrimnet.losses.classification import partitioned_classification_loss
from wrimnet.losses.cmkic import cmkic_loss
from wrimnet.losses.triplet import triplet_loss
from wrimnet.modality import INFRARED, VISIBLE

SPECIAL = (math.nan, math.inf, -math.inf, 0.0, 1e-30, 1e20, -1e20)


@st.composite
def numbers(draw, rows, columns):
    """(rows, columns) float64; sometimes with NaN, infinities, zeros, huge or equal rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = torch.from_numpy(rng.standard_normal((rows, columns)))
    if rows and columns and draw(st.booleans()):
        place = draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))
        values[place] = draw(st.sampled_from(SPECIAL))
    if rows > 1 and draw(st.booleans()):
        values[0] = values[1]
    return values


@st.composite
def labels(draw, length, least=0, most=4):
    values = draw(st.lists(st.integers(least, most), min_size=length, max_size=length))
    return torch.tensor(values, dtype=torch.int64)


@st.composite
def batches(draw):
    """Embeddings, pids, modality; balanced as the sampler makes them, or of any kind."""
    if draw(st.booleans()):
        identities, instances = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        half = torch.arange(identities).repeat_interleave(instances)
        pids = torch.cat([half, half])
        modality = torch.tensor([VISIBLE] * len(half) + [INFRARED] * len(half))
    else:
        length = draw(st.integers(0, 12))
        pids = draw(labels(length + draw(st.sampled_from((0, 0, 0, 1)))))
        modality = draw(labels(length, -1 if draw(st.booleans()) else 0, 1))
    rows = len(modality)
    return draw(numbers(rows, draw(st.integers(0, 6)))), pids, modality


def assert_explained(compute, oracle, inputs):
    """A value that is the oracle's, a value that shows a bad input, or one of our errors."""
    try:
        value = float(compute())
    except ValueError as error:
        assert len(str(error)) > 20
        return
    if not all(torch.isfinite(tensor).all() for tensor in inputs):
        # an infinite logit may have a finite loss; NaN never
        assert not any(tensor.isnan().any() for tensor in inputs) or not math.isfinite(value)
        return
    if max((float(tensor.abs().max()) for tensor in inputs if tensor.numel()), default=0) < 1e3:
        assert value == pytest.approx(float(oracle()), rel=1e-9, abs=1e-9)


@given(batches(), st.sampled_from((0.0, 0.3, 5.0, -1.0, math.nan)))
@examples(40)
def test_triplet(batch, margin):
    embeddings, pids, _ = batch
    assert_explained(
        lambda: triplet_loss(embeddings, pids, margin=margin),
        lambda: triplet_loop(embeddings, pids, margin=margin),
        [embeddings],
    )


@given(
    batches(),
    st.integers(-1, 5),
    st.sampled_from((0.07, 1.0, 0.0, -1.0, math.nan)),
    st.sampled_from(("mean", "sum", "none")),
)
@examples(40)
def test_cmkic(batch, top_k, temperature, reduction):
    embeddings, pids, modality = batch
    embeddings = torch.nn.functional.normalize(embeddings, dim=1)
    settings = {"top_k": top_k, "temperature": temperature, "reduction": reduction}
    assert_explained(
        lambda: cmkic_loss(embeddings, pids, modality, **settings),
        lambda: cmkic_loop(embeddings, pids, modality, **settings),
        [embeddings],
    )


@given(st.data(), st.sampled_from((0.0, 0.1, 0.99, 1.0, -0.1, math.nan)))
@examples(40)
def test_classification(data, smoothing):
    length, classes = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 5))
    parts = data.draw(st.integers(0, 3))
    logits = [data.draw(numbers(length, classes)) for _ in range(parts)]
    least = -1 if data.draw(st.booleans()) else 0
    most = classes if data.draw(st.booleans()) else max(classes - 1, least)
    targets = data.draw(labels(length, least, most))
    assert_explained(
        lambda: partitioned_classification_loss(logits, targets, label_smoothing=smoothing),
        lambda: classification_loop(logits, targets, label_smoothing=smoothing),
        logits,
    )
