"""The training benchmarks: what they count is right by hand, and the timed step trains the same."""

import wrimnet.compat  # noqa: F401

import pytest
import torch
from fastreid.modeling.backbones import BACKBONE_REGISTRY
from fastreid.modeling.meta_arch import META_ARCH_REGISTRY
from step_batches import make_batch, make_step, step_cfg
from tiny_runs import tiny_cfg
from torch import nn

from wrimnet.config.plugins import load_plugin
from wrimnet.config.tree import changed_cfg
from wrimnet.data.images import ImageItem
from wrimnet.engine.solver import build_optimizer
from wrimnet.engine.step import build_training_step
from wrimnet.lab.benchmarks.batches import batch_of, random_batch
from wrimnet.lab.benchmarks.benchmark_setup import describe_settings
from wrimnet.lab.benchmarks.counting import CostCounter, StepCost, saved_bytes
from wrimnet.lab.benchmarks.probe import DeviceSpeed
from wrimnet.lab.benchmarks.processes import process_row
from wrimnet.lab.benchmarks.scaling import axes, measure_point, memory_of, scaling_table
from wrimnet.lab.benchmarks.stages import STEP, WAIT, measure_stages, stage_table, watch_step
from wrimnet.lab.benchmarks.timing import StageClock, seconds_of
from wrimnet.lab.benchmarks.train import rates, step_cost, step_table
from wrimnet.modality import VISIBLE
from wrimnet.modeling.network import CrossModalityNetwork

CPU = torch.device("cpu")


def test_counter_by_hand():
    left, right = torch.ones(2, 3), torch.ones(3, 4)
    with CostCounter() as counter:
        product = left @ right
        product.t()  # a view is free
        product.add_(1.0)
    matmul = (2 * 2 * 3 * 4, 4 * (6 + 12 + 8))
    in_place = (0, 4 * (8 + 8))
    assert [one for one in counter.cost.operators if one != (0, 0)] == [matmul, in_place]
    assert counter.cost.flops == 48


def test_roof_takes_the_slower_of_both_for_each_operator():
    cost = StepCost([(100, 10), (10, 100)])
    assert cost.roof_seconds(10.0, 10.0) == 10.0 + 10.0
    assert cost.roof_seconds(100.0, 10.0) == 1.0 + 10.0


def test_saved_activations_count_a_storage_once_and_no_parameter():
    weight = torch.ones(4, 4, requires_grad=True)

    def forward():
        features = torch.ones(2, 4) @ weight  # keeps its left factor, and the weight
        exponential = features.exp()  # keeps its result
        return exponential, features.square(), features.square()  # keep the features

    assert saved_bytes(forward, [weight]) == 4 * (8 + 8 + 8)


def test_expanded_tensor_is_read_once():
    with CostCounter() as counter:
        torch.ones(2, 1).expand(2, 8) + torch.ones(2, 8)
    assert counter.cost.operators[-1] == (0, 4 * (2 + 16 + 16))


def test_seconds_are_the_mean_of_the_calls_after_a_warm_up():
    readings, calls = iter((0.0, 6.0, 10.0, 12.0)), []
    found = seconds_of(lambda: calls.append(1), lambda: next(readings), repeats=2, steps=2)
    assert found == [3.0, 1.0] and len(calls) == 1 + 2 * 2


def test_step_is_timed_and_described():
    cfg = changed_cfg(step_cfg(), {"SOLVER.COMPILE": "never"})
    batch = ("batch", "SOLVER.IMS_PER_BATCH", 8)
    row, cost = measure_point(cfg, *batch, repeats=2, steps=1), step_cost(cfg)
    assert (row["axis"], row["value"], row["label"]) == (*batch[::2], "8")
    assert row["step"] == "eager" and len(row["seconds"]) == 2 and row["peak_bytes"] is None
    found = rates([3.0, 2.0, 1.0], 16, cost, DeviceSpeed(1e9, 1e9, "fp32"))
    assert found["images_per_second"] == 8.0
    assert found["mfu"] == pytest.approx(cost.flops / 2e9)
    assert found["byte_roofline"] == pytest.approx(cost.num_bytes / 2e9)
    assert found["byte_roofline"] <= found["eager_roofline"]
    assert found["eager_roofline"] <= found["byte_roofline"] + found["mfu"]
    assert "500.0 (500.0 - 500.0)" in step_table([{**row, **found, "seconds": [0.5]}])
    assert "| batch  | 8" in scaling_table([row])


@pytest.mark.parametrize(
    ("network", "backbone", "name"),
    [
        ("WRIMNet", "build_wrim_resnet_backbone", "ResNet-18"),
        ("WRIMNet", "build_resnet_backbone", "ResNet-18"),
        ("TwoStreamNet", "build_two_stream_backbone", "ResNet-18"),
        ("WRIMNet", "build_timm_backbone", "convnext_tiny"),
        ("WRIMNet", "build_torchvision_backbone", "convnext_tiny"),
        ("WRIMNet", "build_my_backbone", "build_my_backbone"),
        ("MyNet", "build_wrim_resnet_backbone", "MyNet"),
    ],
)
def test_network_is_named_as_what_it_is(monkeypatch, network, backbone, name):
    load_plugin("wrimnet.peers", "PLUGINS")
    monkeypatch.setitem(META_ARCH_REGISTRY._obj_map, "MyNet", OneConvolution)
    monkeypatch.setitem(BACKBONE_REGISTRY._obj_map, "build_my_backbone", make_step)
    keys = {"META_ARCHITECTURE": network, "BACKBONE.NAME": backbone}
    keys["BACKBONE.ARCHITECTURE"] = "convnext_tiny"
    cfg = changed_cfg(step_cfg(), {f"MODEL.{key}": value for key, value in keys.items()})
    assert describe_settings(cfg).startswith(f"{name}, 32 x 16, batch 16")


def test_random_batch_is_one_of_the_configuration():
    cfg = step_cfg()
    batch, expected = random_batch(cfg), make_batch()
    assert torch.equal(batch["images"], random_batch(cfg)["images"])
    assert batch["images"].shape == expected["images"].shape
    assert batch["images"].dtype == torch.uint8
    for name in ("labels", "targets", "modality"):
        assert torch.equal(batch[name], expected[name])


def test_batch_has_cameras_and_what_the_dataset_attaches_as_a_real_one():
    cfg = step_cfg()
    size = cfg.SOLVER.IMS_PER_BATCH
    attached = {"attributes": (0, 1, 1), "text": "a red coat"}
    item = ImageItem("a.png", 1, 1, 0, "a.png", attached)
    batch = batch_of(cfg, torch.zeros(size, 4, 4, 3), item)
    assert batch["camids"].shape == (size,)
    assert batch["attached"]["attributes"].tolist() == [[0, 1, 1]] * size
    assert batch["attached"]["text"] == ["a red coat"] * size
    assert batch_of(cfg, torch.zeros(size, 4, 4, 3))["attached"] == {}


def test_watched_step_is_the_training_step():
    plain, watched, clock = make_step(), make_step(), StageClock(CPU)
    plain(make_batch())
    watch_step(watched, clock)
    watched(make_batch())
    assert all(seconds > 0 for seconds in clock.seconds().values())
    for name, value in plain.model.state_dict().items():
        assert torch.equal(watched.model.state_dict()[name], value), name


def test_profile_names_the_stages_in_order(data, tmp_path):
    stages = measure_stages(tiny_cfg(data, tmp_path, MODEL__HEADS__NUM_CLASSES="5"), steps=1)
    blocks = [name for number in (1, 2, 3, 4) for name in (f"layer{number}", f"MIIM {number}")]
    expected = ["augmentation", "conv1", "bn1", "relu", "maxpool", *blocks, "head", "losses"]
    assert list(stages) == [WAIT, *expected, "backward", "optimizer, gradient norm", STEP]
    parts = sum(seconds for name, seconds in stages.items() if name not in (WAIT, STEP))
    assert 0.8 * stages[STEP] < parts <= stages[STEP]
    assert "100.0%" in stage_table(stages).splitlines()[-1]


class OneConvolution(CrossModalityNetwork):
    def __init__(self):
        super().__init__(pixel_mean=[0.0] * 3, pixel_std=[1.0] * 3)
        self.stream = nn.Conv2d(3, 3, 1)

    @property
    def part_dims(self):
        return {"global": 3}

    def embed_parts(self, images, modality):
        return {"global": self.stream(self.preprocess_image(images)).mean((2, 3))}

    def forward(self, batch):
        loss = self.embed_parts(batch["images"], VISIBLE)["global"].square().mean()
        self.raw_losses = {"size": loss.detach()}
        return {"loss_size": loss}


def test_network_without_a_backbone_has_its_children_as_stages():
    clock, cfg, model = StageClock(CPU), step_cfg(), OneConvolution()
    step = build_training_step(cfg, model, build_optimizer(cfg, model))
    watch_step(step, clock)
    step(make_batch())
    expected = ["augmentation", "stream", "backward", "optimizer, gradient norm"]
    assert list(clock.seconds()) == expected


def test_cost_grows_with_batch_and_identities_as_it_must():
    cfg = step_cfg()
    settings = ({"SOLVER.IMS_PER_BATCH": 8}, {}, {"MODEL.HEADS.NUM_CLASSES": 1004})
    small, large, many = (memory_of(changed_cfg(cfg, setting)) for setting in settings)
    assert 1.9 < large["activation_bytes"] / small["activation_bytes"] < 2.1
    parts = 1 + cfg.MODEL.WRIM.MAIN.STRIPES
    features = 512 * parts + 256  # ResNet-18's channels: main level and auxiliary level
    assert many["state_bytes"] - large["state_bytes"] == 1000 * features * 16


def test_axes_go_around_the_configuration():
    values = [value for _, _, value in axes(step_cfg())]
    assert values == [16, 32, 64, [16, 8], [32, 16], [64, 32], 100, 1000, 10_000]


def test_communication_is_what_goes_without_the_other_processes():
    assert process_row(2, 32, 4.0, 3.0) == {
        "processes": 2,
        "images_per_second": 8.0,
        "communication": 0.25,
    }
    assert process_row(1, 32, 2.0, 1.0)["communication"] == 0.0
    assert process_row(2, 32, 1.0, 2.0)["communication"] == 0.0
