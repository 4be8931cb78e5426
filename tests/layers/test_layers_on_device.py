"""The layers compile to one graph, and on a GPU repeat their numbers bit by bit."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn

from wrimnet.engine.data_parallel import synchronize_batch_norm
from wrimnet.layers import MIIM, PerModality, SigmoidGate, partition_pool


def build_miim():
    sizes = {"channels": 64, "reduction": 2, "stride": 2, "num_heads": 8, "region_size": 3}
    return MIIM(**sizes, fusion=SigmoidGate())


def make_pair(device="cpu"):
    torch.manual_seed(0)
    pair, features = PerModality(build_miim), torch.randn(6, 64, 16, 9)
    return pair.to(device), features.to(device, memory_format=torch.channels_last)


def stripes_of_enriched(pair, features):
    return partition_pool(pair(features, 3), 6)


def test_is_one_graph():
    pair, features = make_pair()
    one_graph = torch.compile(stripes_of_enriched, fullgraph=True, backend="eager")
    torch.testing.assert_close(one_graph(pair, features), stripes_of_enriched(pair, features))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_two_runs_in_bfloat16_agree_bit_by_bit(deterministic_algorithms):
    runs = []
    for _ in range(2):
        pair, features = make_pair("cuda")
        with torch.autocast("cuda", dtype=torch.bfloat16):
            pooled = stripes_of_enriched(pair, features)
        pooled.square().sum().backward()
        runs.append([pooled.detach(), *(parameter.grad for parameter in pair.parameters())])
    assert all(torch.equal(*twice) for twice in zip(*runs, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("shape", [(8, 6, 5, 4), (8, 6)], ids=["maps", "features"])
def test_norm_over_processes_is_the_norm_of_one(shape, monkeypatch):
    """PyTorch's kernels for channels-last maps and for features want other arguments than a CPU."""
    monkeypatch.setattr(dist, "get_world_size", lambda: 1)
    monkeypatch.setattr(dist, "all_gather", lambda of_ranks, own: of_ranks[0].copy_(own))
    monkeypatch.setattr(dist, "all_reduce", lambda _: None)
    plain = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(6).cuda()
    shared = synchronize_batch_norm(nn.Sequential(copy.deepcopy(plain)))
    torch.manual_seed(0)
    values, weights = torch.randn(2, *shape, device="cuda").unbind(0)
    if len(shape) == 4:
        values = values.to(memory_format=torch.channels_last)
    gradients = []
    for norm in (plain, shared):
        given = values.clone().requires_grad_()
        (norm(given) * weights).sum().backward()
        gradients.append([given.grad, *(parameter.grad for parameter in norm.parameters())])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
