"""The peers' losses against loops over their definitions."""

import math

import pytest
import torch

from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.peers.expansion_losses import branch_similarity_loss, center_pushing_loss
from wrimnet.peers.peer_terms import view_divergence_loss
from wrimnet.peers.weighted_triplet import weighted_triplet_loss

PIDS = torch.tensor([0, 0, 1, 1, 2, 2]).repeat(2)
MODALITY = torch.tensor([VISIBLE, INFRARED]).repeat_interleave(6)


def features(seed=0, dim=5, scale=1.0, count=12):
    drawn = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, dim, generator=drawn, dtype=torch.float64)


def distance(first, second):
    return math.dist(first.tolist(), second.tolist())


def literal_excess(rows, anchor):
    dist = [max(distance(rows[anchor], other), 1e-6) for other in rows]
    near = [d for d, pid in zip(dist, PIDS, strict=True) if pid == PIDS[anchor]]
    far = [d for d, pid in zip(dist, PIDS, strict=True) if pid != PIDS[anchor]]
    pull = [math.exp(d - max(near)) for d in near]
    push = [math.exp(-d) for d in far]
    mean_near = sum(w * d for w, d in zip(pull, near, strict=True)) / (sum(pull) + 1e-6)
    return mean_near - sum(w * d for w, d in zip(push, far, strict=True)) / (sum(push) + 1e-6)


@pytest.mark.parametrize("squared", [False, True])
def test_weighted_triplet_is_the_literal_one(squared):
    rows = features()
    excess = [literal_excess(rows, anchor) for anchor in range(len(rows))]
    powers = [math.copysign(t * t, t) if squared else t for t in excess]
    expected = sum(math.log1p(math.exp(t)) for t in powers) / len(powers)
    found = weighted_triplet_loss(rows, PIDS, squared=squared)
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("scale", [1e-8, 1e3, 1e6])
def test_weighted_triplet_and_its_gradient_stay_finite(squared, scale):
    rows = features(scale=scale).float().requires_grad_()
    loss = weighted_triplet_loss(rows, PIDS, squared=squared)
    loss.backward()
    assert loss.isfinite()
    assert rows.grad.isfinite().all()


def test_weighted_triplet_has_the_gradient_of_its_value():
    rows = features(dim=3).requires_grad_()
    for squared in (False, True):
        assert torch.autograd.gradcheck(
            lambda values, form=squared: weighted_triplet_loss(values, PIDS, squared=form), (rows,)
        )


def test_weighted_triplet_refuses_an_anchor_without_a_negative():
    with pytest.raises(ValueError, match="has no negative in the batch"):
        weighted_triplet_loss(features(count=2), torch.tensor([0, 0]))


def centers(rows, modality):
    chosen = [rows[(pid == PIDS) & (modality == MODALITY)].mean(0) for pid in range(3)]
    return torch.stack(chosen)


def nearest_other(points, index):
    return min(distance(points[index], points[j]) for j in range(3) if j != index)


def literal_push(own, branch, other, margin):
    total = 0.0
    for i in range(3):
        positive = distance(other[i], branch[i])
        negatives = ((1, distance(own[i], branch[i])), (0.5, nearest_other(branch, i)))
        for weight, negative in (*negatives, (0.5, nearest_other(own, i))):
            total += weight * max(0.0, positive - negative + margin)
    return total / 3


def test_center_pushing_is_the_literal_one():
    copies = [features(seed) for seed in range(3)]
    c1, c2 = centers(copies[0], VISIBLE), centers(copies[0], INFRARED)
    expected = 0.0
    for branch in copies[1:]:
        expected += 0.5 * literal_push(c1, centers(branch, VISIBLE), c2, 0.2)
        expected += 0.5 * literal_push(c2, centers(branch, INFRARED), c1, 0.2)
    found = center_pushing_loss(copies, PIDS, MODALITY, margin=0.2)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_branch_similarity_is_the_literal_one():
    copies = [features(seed) for seed in range(3)]
    products = [a * b for x, y in zip(*copies[1:], strict=True) for a, b in zip(x, y, strict=True)]
    assert branch_similarity_loss(copies).item() == pytest.approx(float(sum(products)) / 36)


def test_view_divergence_is_the_literal_one():
    logits = features(dim=4, count=9)
    first, second = logits[:3].softmax(1), logits[3:6].softmax(1)
    expected = sum(
        q * math.log(q / p)
        for row_p, row_q in zip(first.tolist(), second.tolist(), strict=True)
        for p, q in zip(row_p, row_q, strict=True)
    )
    assert view_divergence_loss(logits).item() == pytest.approx(expected / 3, rel=1e-6)
    assert view_divergence_loss(logits[:3].repeat(3, 1)).item() == pytest.approx(0.0, abs=1e-7)
    with pytest.raises(ValueError, match="8 images, expected two views of n visible and n infrare"):
        view_divergence_loss(logits[:8])
