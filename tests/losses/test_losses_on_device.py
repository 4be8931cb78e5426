"""No loss makes the host wait for the device: nothing but the checks reads a value."""

import pytest
import torch
import torch.nn.functional as F

from wrimnet.losses import cmkic_loss, partitioned_classification_loss, triplet_loss

LOSSES = {
    "cmkic": lambda z, pids, modality: cmkic_loss(z, pids, modality, top_k=2, temperature=0.07),
    "triplet": lambda z, pids, modality: triplet_loss(z, pids, margin=0.3),
    "classification": lambda z, pids, modality: partitioned_classification_loss([z, 2 * z], pids),
}
CHECKS = (
    "cmkic.check_cross_modality_pairs",
    "triplet.check_identity_pairs",
    "classification.check_targets",
)


def make_batch(device="cpu"):
    """128 images as in training: 8 identities, 8 images each and per modality."""
    generator = torch.Generator().manual_seed(0)
    pids = torch.arange(8).repeat_interleave(8).repeat(2)
    modality = torch.arange(2).repeat_interleave(64)
    embeddings = F.normalize(torch.randn(128, 16, generator=generator), dim=1)
    return embeddings.to(device).requires_grad_(), pids.to(device), modality.to(device)


@pytest.mark.parametrize("name", LOSSES)
def test_is_one_graph_without_the_checks(monkeypatch, name):
    """A value that Python reads would break the graph, as it would make it wait for a GPU."""
    for check in CHECKS:
        monkeypatch.setattr(f"wrimnet.losses.{check}", lambda *labels: None)
    batch = make_batch()
    one_graph = torch.compile(LOSSES[name], fullgraph=True, backend="eager")
    torch.testing.assert_close(one_graph(*batch), LOSSES[name](*batch))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", LOSSES)
def test_equals_the_cpu_without_waiting(deterministic_algorithms, name):
    batch = make_batch("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = LOSSES[name](*batch)
        loss.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    on_cpu = make_batch()
    expected = LOSSES[name](*on_cpu)
    expected.backward()
    torch.testing.assert_close(loss.cpu(), expected)
    torch.testing.assert_close(batch[0].grad.cpu(), on_cpu[0].grad, rtol=1e-4, atol=1e-6)
