"""Cost of a network: counted by hand on one that is small enough for it."""

import pytest
from torch import nn

from wrimnet.lab.network_cost import count_parameters, measure_cost


class TinyNetwork(nn.Module):
    training_only = ("decoder.",)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, kernel_size=3, padding=1, bias=False)
        self.head = nn.ModuleDict({"projection": nn.Linear(4, 5), "neck": nn.BatchNorm1d(4)})
        self.decoder = nn.Linear(4, 100)

    def embed_parts(self, images, modality):
        assert images.shape[0] == 1
        return {"global": self.conv(images.permute(0, 3, 1, 2).float()).mean((2, 3))}


def test_parameters_operations_and_latency():
    cost = measure_cost(TinyNetwork().eval(), height=8, width=5, precision="fp32")
    assert cost["parameters"] == 4 * 3 * 9 + (4 * 5 + 5) + 8  # without the decoder
    assert cost["gflop"] == pytest.approx(2 * 4 * 3 * 9 * 8 * 5 / 1e9)
    assert 0 < cost["latency_ms"] < 1e4
    assert (cost["input"], cost["precision"]) == ("8x5", "fp32")
    assert "CPU" in cost["device"]


def test_all_else_is_counted():
    assert count_parameters(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))) == 8 + 6
