"""The building blocks of the network: torch only, no cfg, no registry."""

from wrimnet.layers.fusion import Addition, Multiplication, SigmoidGate
from wrimnet.layers.gri import GlobalRegionInteraction
from wrimnet.layers.miim import MIIM
from wrimnet.layers.partition import global_average_pool, partition_pool
from wrimnet.layers.per_modality import PerModality
from wrimnet.layers.scc import SpatialChannelCompression
from wrimnet.layers.scr import SpatialChannelRestoration

__all__ = [
    "MIIM",
    "Addition",
    "GlobalRegionInteraction",
    "Multiplication",
    "PerModality",
    "SigmoidGate",
    "SpatialChannelCompression",
    "SpatialChannelRestoration",
    "global_average_pool",
    "partition_pool",
]
