"""Batch-hard triplet loss against its literal definition, by hand, and by its laws."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.triplet_loop import triplet_loop

from wrimnet.losses import triplet_loss


def make_batch(num_pids=3, num_instances=3, dim=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    pids = torch.arange(num_pids).repeat_interleave(num_instances).repeat(2)
    return torch.randn(len(pids), dim, generator=generator, dtype=dtype), pids


@settings(max_examples=30, deadline=None)
@given(
    num_pids=st.integers(2, 4),
    num_instances=st.integers(1, 3),
    margin=st.floats(0.0, 3.0),
    seed=st.integers(0, 1000),
)
def test_value_and_gradient_equal_the_loop(num_pids, num_instances, margin, seed):
    embeddings, pids = make_batch(num_pids, num_instances, seed=seed)
    results = []
    for function in (triplet_loss, triplet_loop):
        leaf = embeddings.clone().requires_grad_()
        loss = function(leaf, pids, margin=margin)
        results.append((loss, *torch.autograd.grad(loss, leaf)))
    torch.testing.assert_close(results[0], results[1])


def test_by_hand():
    """On a line: pid 0 at 0 and 3, pid 1 at 4 and 10."""
    embeddings = torch.tensor([[0.0], [3.0], [4.0], [10.0]])
    pids = torch.tensor([0, 0, 1, 1])
    hinges = [3 - 4 + 0.3, 3 - 1 + 0.3, 6 - 1 + 0.3, 6 - 7 + 0.3]
    expected = sum(max(hinge, 0.0) for hinge in hinges) / 4
    assert triplet_loss(embeddings, pids, margin=0.3).item() == pytest.approx(expected)


def test_soft_margin_and_unit_length_by_hand():
    """On a line: every distance between features of length one is 0 or 2."""
    embeddings = torch.tensor([[0.0], [3.0], [4.0], [10.0]], dtype=torch.float64)
    pids = torch.tensor([0, 0, 1, 1])
    gaps = [3 - 4, 3 - 1, 6 - 1, 6 - 7]
    expected = sum(math.log1p(math.exp(gap)) for gap in gaps) / 4
    soft = triplet_loss(embeddings, pids, margin=9.0, soft_margin=True)
    assert soft.item() == pytest.approx(expected)
    signs = torch.tensor([[5.0], [0.1], [-2.0], [7.0]], dtype=torch.float64)  # 1, 1, -1, 1
    hinges = [0 - 0 + 0.3, 0 - 0 + 0.3, 2 - 2 + 0.3, 2 - 0 + 0.3]
    unit = triplet_loss(signs, pids, margin=0.3, unit_length=True)
    assert unit.item() == pytest.approx(sum(hinges) / 4)


def test_features_of_unit_length_know_no_scale():
    embeddings, pids = make_batch()
    losses = [
        triplet_loss(scale * embeddings, pids, margin=0.3, unit_length=True)
        for scale in (1e-3, 1.0, 50.0)
    ]
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(losses[2], losses[1])


def test_order_of_the_batch_does_not_matter():
    embeddings, pids = make_batch()
    order = torch.randperm(len(pids), generator=torch.Generator().manual_seed(1))
    shuffled = triplet_loss(embeddings[order], pids[order], margin=0.3)
    torch.testing.assert_close(triplet_loss(embeddings, pids, margin=0.3), shuffled)


def test_a_common_shift_does_not_matter():
    embeddings, pids = make_batch()
    shifted = triplet_loss(embeddings + 100.0, pids, margin=0.3)
    torch.testing.assert_close(triplet_loss(embeddings, pids, margin=0.3), shifted)


def test_scale_of_embeddings_and_margin_scales_the_loss():
    embeddings, pids = make_batch()
    scaled = triplet_loss(7 * embeddings, pids, margin=2.1)
    torch.testing.assert_close(7 * triplet_loss(embeddings, pids, margin=0.3), scaled)


def test_grows_with_the_margin_at_slope_one_where_every_hinge_is_open():
    embeddings, pids = make_batch()
    low, high = (triplet_loss(embeddings, pids, margin=margin) for margin in (20.0, 20.5))
    assert (high - low).item() == pytest.approx(0.5)


def test_identities_farther_apart_than_the_margin_cost_nothing():
    embeddings = torch.tensor([[0.0, 0.0], [0.0, 0.1], [9.0, 0.0], [9.0, 0.1]])
    assert triplet_loss(embeddings, torch.tensor([0, 0, 1, 1]), margin=0.3).item() == 0.0


def test_far_from_the_origin_distances_keep_their_digits():
    """Around 100 per coordinate, |a|^2 + |b|^2 - 2ab in float32 is wrong in the second digit."""
    embeddings, pids = make_batch(dim=256)
    exact = triplet_loss(0.01 * embeddings + 100.0, pids, margin=0.3)
    rounded = (0.01 * embeddings + 100.0).float()
    torch.testing.assert_close(
        triplet_loss(rounded, pids, margin=0.3).double(), exact, rtol=1e-4, atol=0
    )


def test_coinciding_images_have_a_finite_gradient():
    embeddings = torch.ones(6, 4, requires_grad=True)
    loss = triplet_loss(embeddings, torch.tensor([0, 0, 0, 1, 1, 1]), margin=0.3)
    loss.backward()
    assert loss.item() == pytest.approx(0.3)
    assert torch.equal(embeddings.grad, torch.zeros(6, 4))


def test_nearly_coinciding_images_have_a_gradient_of_bounded_length():
    generator = torch.Generator().manual_seed(0)
    embeddings = (1e-12 * torch.randn(6, 4, generator=generator)).requires_grad_()
    triplet_loss(embeddings, torch.tensor([0, 0, 0, 1, 1, 1]), margin=0.3).backward()
    lengths = embeddings.grad.norm(dim=1)
    assert (lengths <= 2.0).all() and (lengths > 0.01).any()


def test_ties_go_to_the_lower_index():
    """Both positives of anchor 0 and both negatives of anchors 0, 1 and 2 are equally far."""
    points = torch.tensor([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64)
    farthest, nearest = torch.tensor([1, 2, 1, 4, 3]), torch.tensor([3, 3, 3, 0, 0])
    embeddings, expected = (points.clone().requires_grad_() for _ in range(2))
    triplet_loss(embeddings, torch.tensor([0, 0, 0, 1, 1]), margin=0.5).backward()
    d_p = (expected - expected[farthest]).norm(dim=1)
    d_n = (expected - expected[nearest]).norm(dim=1)
    (d_p - d_n + 0.5).relu().mean().backward()
    torch.testing.assert_close(embeddings.grad, expected.grad)


def test_gradcheck():
    embeddings, pids = make_batch(num_pids=2, num_instances=2, dim=3)
    loss = torch.autograd.gradcheck(
        lambda leaf: triplet_loss(leaf, pids, margin=0.5), embeddings.requires_grad_()
    )
    assert loss


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(dtype):
    embeddings, pids = make_batch(dtype=torch.float32, dim=64)
    embeddings = embeddings.to(dtype)
    outside = triplet_loss(embeddings.float(), pids, margin=0.3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = triplet_loss(embeddings, pids, margin=0.3)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)


def test_arguments_are_not_modified():
    embeddings, pids = make_batch()
    before = embeddings.clone(), pids.clone()
    triplet_loss(embeddings, pids, margin=0.3)
    assert torch.equal(embeddings, before[0]) and torch.equal(pids, before[1])


def test_deterministic_algorithms_suffice(deterministic_algorithms):
    embeddings, pids = make_batch()
    triplet_loss(embeddings.requires_grad_(), pids, margin=0.3).backward()
    assert embeddings.grad.isfinite().all()


def test_an_anchor_without_a_pair_is_named():
    embeddings, pids = make_batch()
    with pytest.raises(ValueError, match=r"anchor 0 \(pid 0\) has no negative in the batch of 3"):
        triplet_loss(embeddings[:3], pids[:3], margin=0.3)
    with pytest.raises(ValueError, match=r"anchor 3 \(pid 1\) has no positive in the batch of 4"):
        triplet_loss(embeddings[:4], pids[:4], margin=0.3)


@pytest.mark.parametrize("size", [3, 4])
def test_an_unchecked_anchor_without_a_pair_makes_the_loss_nan(monkeypatch, size):
    """What happens where the labels are on a GPU and nobody called the check."""
    monkeypatch.setattr("wrimnet.losses.triplet.check_identity_pairs", lambda pids: None)
    embeddings, pids = make_batch()
    assert triplet_loss(embeddings[:size], pids[:size], margin=0.3).isnan()


@pytest.mark.parametrize("margin", [-0.1, math.nan])
def test_a_wrong_margin_is_named(margin):
    with pytest.raises(ValueError, match=f"margin is {margin}; expected at least 0"):
        triplet_loss(*make_batch(), margin=margin)


def test_wrong_shapes_are_named():
    embeddings, pids = make_batch()
    with pytest.raises(ValueError, match=r"\(18, 5\) and \(17,\); expected \(N, D\) and \(N,\)"):
        triplet_loss(embeddings, pids[1:], margin=0.3)
