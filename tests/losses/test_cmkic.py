"""CMKIC against its literal definition, by hand, and by the laws of the equation."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.cmkic_loop import cmkic_loop, supervised_contrastive_loop

from wrimnet.losses import cmkic_loss
from wrimnet.losses.cmkic import _hardest

TAU = 0.07


def make_batch(num_pids=3, num_instances=4, dim=5, seed=0, dtype=torch.float64):
    """Visible first, then infrared, grouped by identity."""
    generator = torch.Generator().manual_seed(seed)
    pids = torch.arange(num_pids).repeat_interleave(num_instances).repeat(2)
    modality = torch.arange(2).repeat_interleave(num_pids * num_instances)
    embeddings = torch.randn(len(pids), dim, generator=generator, dtype=dtype)
    return F.normalize(embeddings, dim=1), pids, modality


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("top_k", [1, 2, 4, 9])
def test_equals_the_loop(top_k, reduction):
    arguments = {"top_k": top_k, "temperature": TAU, "reduction": reduction}
    batch = make_batch(seed=top_k)
    torch.testing.assert_close(cmkic_loss(*batch, **arguments), cmkic_loop(*batch, **arguments))


@settings(max_examples=25, deadline=None)
@given(
    num_pids=st.integers(2, 4),
    num_instances=st.integers(1, 4),
    top_k=st.integers(1, 5),
    temperature=st.floats(0.05, 2.0),
    seed=st.integers(0, 1000),
)
def test_value_and_gradient_equal_the_loop(num_pids, num_instances, top_k, temperature, seed):
    embeddings, pids, modality = make_batch(num_pids, num_instances, seed=seed)
    gradients = []
    for function in (cmkic_loss, cmkic_loop):
        leaf = embeddings.clone().requires_grad_()
        loss = function(leaf, pids, modality, top_k=top_k, temperature=temperature)
        gradients.append((loss, *torch.autograd.grad(loss, leaf)))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-6, atol=1e-9)


def test_uneven_identities_use_as_many_positives_as_they_have():
    embeddings = make_batch(num_pids=2, num_instances=4)[0][:7]
    pids = torch.tensor([0, 0, 0, 1, 0, 1, 1])
    modality = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    arguments = {"top_k": 2, "temperature": 0.5}
    expected = cmkic_loop(embeddings, pids, modality, **arguments)
    torch.testing.assert_close(cmkic_loss(embeddings, pids, modality, **arguments), expected)


def test_by_hand_two_identities_one_image_each():
    """Every anchor has similarity 1 with its positive and 0 with its negative."""
    embeddings = torch.eye(2).repeat(2, 1)
    pids, modality = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
    one_direction = math.log(1 + math.exp(-1 / 0.5))
    loss = cmkic_loss(embeddings, pids, modality, top_k=1, temperature=0.5)
    assert loss.item() == pytest.approx(2 * one_direction, rel=1e-6)
    total = cmkic_loss(embeddings, pids, modality, top_k=1, temperature=0.5, reduction="sum")
    assert total.item() == pytest.approx(4 * one_direction, rel=1e-6)


def test_by_hand_the_easy_positive_is_in_neither_sum():
    """One visible image of pid 0; its infrared positives have similarity 0 (hard) and 1 (easy)."""
    x, y, minus_x = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]
    embeddings = torch.tensor([x, minus_x, y, x, minus_x])
    pids, modality = torch.tensor([0, 1, 0, 0, 1]), torch.tensor([0, 0, 1, 1, 1])
    e = math.exp
    visible = [
        -math.log(e(0) / (e(0) + e(-1))),  # x: positive y, not x; negative -x
        -math.log(e(1) / (e(1) + e(0) + e(-1))),  # -x: positive -x; negatives y and x
    ]
    infrared = [
        -math.log(e(0) / (e(0) + e(0))),  # y: positive x; negative -x
        -math.log(e(1) / (e(1) + e(-1))),  # x: positive x; negative -x
        -math.log(e(1) / (e(1) + e(-1))),  # -x: positive -x; negative x
    ]
    loss = cmkic_loss(embeddings, pids, modality, top_k=1, temperature=1.0)
    assert loss.item() == pytest.approx(sum(visible) / 2 + sum(infrared) / 3, rel=1e-6)


def test_k_of_all_positives_is_the_supervised_contrastive_loss():
    batch = make_batch(num_instances=4)
    expected = supervised_contrastive_loop(*batch, temperature=TAU)
    torch.testing.assert_close(cmkic_loss(*batch, top_k=4, temperature=TAU), expected)


def test_order_of_the_batch_does_not_matter():
    batch = make_batch()
    order = torch.randperm(len(batch[1]), generator=torch.Generator().manual_seed(1))
    shuffled = [tensor[order] for tensor in batch]
    arguments = {"top_k": 2, "temperature": TAU}
    torch.testing.assert_close(cmkic_loss(*batch, **arguments), cmkic_loss(*shuffled, **arguments))


def test_exchange_of_the_modalities_does_not_matter():
    """L_VI and L_IV are mirror images and weigh the same, also where their anchors differ."""
    embeddings, pids, modality = (tensor[1:] for tensor in make_batch())
    arguments = {"top_k": 2, "temperature": TAU}
    loss = cmkic_loss(embeddings, pids, modality, **arguments)
    torch.testing.assert_close(loss, cmkic_loss(embeddings, pids, 1 - modality, **arguments))


def test_names_of_the_identities_do_not_matter():
    embeddings, pids, modality = make_batch()
    renamed = torch.tensor([907, -3, 41])[pids]
    arguments = {"top_k": 2, "temperature": TAU}
    loss = cmkic_loss(embeddings, pids, modality, **arguments)
    assert torch.equal(loss, cmkic_loss(embeddings, renamed, modality, **arguments))


def test_temperature_scales_the_similarities():
    """z.z / tau: half the temperature equals embeddings longer by sqrt(2)."""
    embeddings, pids, modality = make_batch()
    halved = cmkic_loss(embeddings, pids, modality, top_k=2, temperature=0.2)
    longer = cmkic_loss(embeddings * math.sqrt(2), pids, modality, top_k=2, temperature=0.4)
    torch.testing.assert_close(halved, longer)


def test_a_nearer_hard_positive_lowers_the_loss_and_a_nearer_negative_raises_it():
    pids, modality = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])

    def loss(positive_angle, negative_angle):
        angles = torch.tensor([0.0, 3.0, positive_angle, negative_angle])
        embeddings = torch.stack((angles.cos(), angles.sin()), dim=1)
        return cmkic_loss(embeddings, pids, modality, top_k=1, temperature=0.3).item()

    assert loss(0.2, 2.0) < loss(0.4, 2.0) < loss(0.8, 2.0)
    assert loss(0.4, 2.0) < loss(0.4, 1.5) < loss(0.4, 1.0)


def test_fewer_key_instances_are_harder():
    batch = make_batch(num_instances=4)
    losses = [cmkic_loss(*batch, top_k=k, temperature=TAU).item() for k in (1, 4)]
    assert losses[0] > losses[1]


def test_ties_go_to_the_lower_index():
    similarity = torch.tensor([[0.5, 0.1, 0.5, 0.1, 0.1, -0.9]])
    positive = torch.tensor([[True, True, True, True, True, False]])
    chosen = [_hardest(similarity, positive, k)[0].nonzero().flatten().tolist() for k in (1, 2, 4)]
    assert chosen == [[1], [1, 3], [0, 1, 3, 4]]


def test_of_equal_positives_only_the_lower_index_is_pulled():
    """Two equal infrared positives of a visible anchor; their gradients differ by its pull."""
    embeddings = F.normalize(torch.tensor([[1.0, 0.2], [-1, 1], [0, 1], [0, 1], [-1, 0.5]]), dim=1)
    pids, modality = torch.tensor([0, 1, 0, 0, 1]), torch.tensor([0, 0, 1, 1, 1])
    leaf = embeddings.double().requires_grad_()
    cmkic_loss(leaf, pids, modality, top_k=1, temperature=1.0).backward()
    z = leaf.detach()
    negative = torch.exp(z[0] @ z[4])
    pull = 0.5 * negative / (negative + torch.exp(z[0] @ z[2]))
    torch.testing.assert_close(leaf.grad[2] - leaf.grad[3], -pull * z[0])


def test_gradcheck():
    embeddings, pids, modality = make_batch(num_pids=2, num_instances=3, dim=3)

    def loss(leaf):
        return cmkic_loss(leaf, pids, modality, top_k=2, temperature=0.5)

    assert torch.autograd.gradcheck(loss, embeddings.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(dtype):
    embeddings, pids, modality = make_batch(dtype=torch.float32, dim=64)
    embeddings = embeddings.to(dtype)
    arguments = {"top_k": 2, "temperature": TAU}
    outside = cmkic_loss(embeddings.float(), pids, modality, **arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = cmkic_loss(embeddings, pids, modality, **arguments)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)


def test_float64_stays_float64():
    assert cmkic_loss(*make_batch(), top_k=2, temperature=TAU).dtype == torch.float64


def test_a_low_temperature_does_not_overflow():
    embeddings, pids, modality = make_batch(dtype=torch.float32)
    leaf = embeddings.requires_grad_()
    loss = cmkic_loss(leaf, pids, modality, top_k=2, temperature=1e-4)
    loss.backward()
    assert loss.isfinite() and leaf.grad.isfinite().all()


def test_arguments_are_not_modified():
    batch = make_batch()
    before = [tensor.clone() for tensor in batch]
    cmkic_loss(*batch, top_k=2, temperature=TAU)
    assert all(torch.equal(*pair) for pair in zip(batch, before, strict=True))


def test_deterministic_algorithms_suffice(deterministic_algorithms):
    embeddings, pids, modality = make_batch()
    cmkic_loss(embeddings.requires_grad_(), pids, modality, top_k=2, temperature=TAU).backward()
    assert embeddings.grad.isfinite().all()


def test_an_anchor_without_a_pair_is_named():
    embeddings, pids, modality = make_batch()
    pids = pids.clone()
    pids[20] = 77
    with pytest.raises(ValueError, match=r"anchor 20 \(pid 77, infrared\) has no positive"):
        cmkic_loss(embeddings, pids, modality, top_k=2, temperature=TAU)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("pids", "modality"),
    [([0, 1, 0, 1, 2], [0, 0, 1, 1, 1]), ([0, 0, 0], [0, 1, 1]), ([0, 0, 1, 1], [0, 0, 0, 0])],
    ids=["no positive", "no negative", "one modality"],
)
def test_an_unchecked_anchor_without_a_pair_makes_the_loss_nan(
    monkeypatch, pids, modality, reduction
):
    """What happens where the labels are on a GPU and nobody called the check."""
    monkeypatch.setattr("wrimnet.losses.cmkic.check_cross_modality_pairs", lambda *labels: None)
    embeddings, labels = make_batch()[0][: len(pids)], (torch.tensor(pids), torch.tensor(modality))
    loss = cmkic_loss(embeddings, *labels, top_k=2, temperature=TAU, reduction=reduction)
    assert loss.isnan()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"top_k": 0}, "top_k is 0; expected at least 1"),
        ({"temperature": 0.0}, "temperature is 0.0; expected above 0"),
        ({"temperature": math.nan}, "temperature is nan; expected above 0"),
        ({"reduction": "none"}, "reduction is 'none'; expected 'mean' or 'sum'"),
    ],
)
def test_wrong_settings_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        cmkic_loss(*make_batch(), **({"top_k": 2, "temperature": TAU} | changed))


def test_wrong_shapes_are_named():
    embeddings, pids, modality = make_batch()
    with pytest.raises(ValueError, match=r"\(24, 5\), \(24,\), \(23,\); expected \(N, D\)"):
        cmkic_loss(embeddings, pids, modality[1:], top_k=2, temperature=TAU)
    with pytest.raises(ValueError, match=r"\(120,\), \(24,\), \(24,\); expected \(N, D\)"):
        cmkic_loss(embeddings.flatten(), pids, modality, top_k=2, temperature=TAU)
