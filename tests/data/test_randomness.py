"""Random streams of a training: each draw has one of its own."""

from types import SimpleNamespace
from zlib import crc32

import torch
from tiny_runs import tiny_cfg

from wrimnet.data import randomness
from wrimnet.data.augmentation_list import build_augmentation
from wrimnet.data.sampler import CrossModalitySampler

CHANNELS = {
    "PLUGINS": "('wrimnet.peers',)",
    "INPUT__AUGMENTATION": "build_channel_augmentation",
    "INPUT__CHANNELS__TWO_VIEWS": "True",
}


def test_no_two_draws_of_an_iteration_share_a_stream(monkeypatch, tmp_path):
    """Two that share one would draw the same numbers: the sampler and every augmentation."""
    names = []

    def recorded(name):
        names.append(name)
        return crc32(name)

    labels = {"pids": [1, 1, 2, 2], "modalities": [0, 1, 0, 1]}
    sampler = CrossModalitySampler(**labels, num_pids=2, num_instances=1, seed=0)
    monkeypatch.setattr(randomness, "zlib", SimpleNamespace(crc32=recorded))
    sampler.batch(0)
    rows = {name: torch.tensor([0, 0, 1, 1]) for name in ("targets", "labels", "modality")}
    images = torch.zeros(4, 8, 4, 3, dtype=torch.uint8)
    augmentation = build_augmentation(tiny_cfg(tmp_path, tmp_path, **CHANNELS))
    augmentation.augment({**rows, "images": images, "iteration": 0})
    assert len(names) == 6
    assert len({crc32(name) for name in names}) == 6, names
