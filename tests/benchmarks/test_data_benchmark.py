import pytest
import torch
from reference.classic_augmentation import ClassicAugmentation

from wrimnet.lab.benchmarks.data import benchmark_data, ways_table
from wrimnet.lab.benchmarks.data_paths import draw_train_set
from wrimnet.modality import INFRARED, VISIBLE


def test_table_compares_medians():
    way = {"result": "batch", "clock": "core"}
    ways = [
        {**way, "name": "slow", "baseline": None, "images_per_second": [9.0, 10.0, 30.0]},
        {**way, "name": "fast", "baseline": "slow", "images_per_second": [45.0, 20.0, 25.0]},
    ]
    rows = ways_table(ways).splitlines()
    assert rows[2] == "| slow | batch | core | 10 | 9 - 30 | - | - |"
    assert rows[3] == "| fast | batch | core | 25 | 20 - 45 | 2.50 | slow |"


def test_drawn_images_hold_both_modalities_of_every_identity(tmp_path):
    train_set = draw_train_set(tmp_path, 64)
    assert train_set.num_classes == 2
    for label in (0, 1):
        kinds = train_set.modality[train_set.labels == label]
        assert (kinds == VISIBLE).sum() == (kinds == INFRARED).sum() == 16


@pytest.mark.slow
def test_every_way_is_measured(tmp_path):
    device = torch.device("cpu")
    ways = benchmark_data(tmp_path, device, ClassicAugmentation, num_images=256, repeats=1)
    names = [way["name"] for way in ways]
    assert len(set(names)) == len(names) >= 10
    for way in ways:
        assert len(way["images_per_second"]) == 1 and way["images_per_second"][0] > 0
        assert way["baseline"] is None or way["baseline"] in names
    speed = {way["name"]: way["images_per_second"][0] for way in ways}
    assert speed["CACHE ram"] > 5 * speed["FastReID 1.4.0's transforms"]
