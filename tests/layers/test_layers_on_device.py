"""The layers compile to one graph, and on a GPU repeat their numbers bit by bit."""

import pytest
import torch

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
