"""The train benchmark: what it counts is right by hand, and its step is the step of training."""

import pytest
import torch
from step_batches import make_batch, make_step, step_cfg

from wrimnet.lab.benchmarks.benchmark_tables import (
    scaling_table,
    stage_table,
    train_numbers,
    train_table,
)
from wrimnet.lab.benchmarks.counting import CostCounter, SavedActivations, StepCost
from wrimnet.lab.benchmarks.scaling import build_changed, build_points
from wrimnet.lab.benchmarks.stages import WAIT, build_stage_profile, train_in_stages
from wrimnet.lab.benchmarks.timing import StageClock
from wrimnet.lab.benchmarks.train import build_train_times, rates
from wrimnet.lab.benchmarks.variants import (
    BASELINE,
    OURS,
    VARIANTS,
    build_batch,
    build_variant,
    compiler_problem,
)

CPU = torch.device("cpu")


def test_probe_of_the_compiler_finds_no_problem_where_there_is_none():
    assert compiler_problem(CPU, backend="eager") is None


def test_probe_of_the_compiler_says_what_is_wrong(monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("InvalidCxxCompiler: no working C++ compiler")

    monkeypatch.setattr(torch, "compile", fail)
    found = compiler_problem(CPU)
    assert found == "RuntimeError: InvalidCxxCompiler: no working C++ compiler"


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
    saved = SavedActivations([weight])
    with saved.hooks:
        features = torch.ones(2, 4) @ weight  # keeps its left factor, and the weight
        features.exp()  # keeps its result
        features.square()  # keeps the features
        features.square()
    assert saved.num_bytes == 4 * (8 + 8 + 8)


def test_expanded_tensor_is_read_once():
    with CostCounter() as counter:
        torch.ones(2, 1).expand(2, 8) + torch.ones(2, 8)
    assert counter.cost.operators[-1] == (0, 4 * (2 + 16 + 16))


@pytest.fixture(scope="module")
def times():
    variants = tuple(variant for variant in VARIANTS if variant in (BASELINE, *VARIANTS[1:3], OURS))
    return build_train_times(step_cfg(), repeats=2, steps=1, variants=variants)


def test_table_has_a_row_per_variant_and_says_what_is_missing(times):
    lines = train_table(times).splitlines()
    assert lines[2].startswith("| FastReID-style")
    assert lines[3].endswith("not measured: a format of CUDA devices | | | | | | |")
    assert "+ augmentation on the device" in lines[5]


def test_rates_by_hand(times):
    row = {"seconds": [3.0, 2.0, 1.0]}
    found = rates(times, row)
    assert found["images_per_second"] == 8.0
    assert found["milliseconds"] == 2000.0
    assert found["mfu"] == pytest.approx(times.cost.flops / 2 / times.speed.flops)
    assert 0 < found["byte_roof"] <= found["eager_roof"] <= found["byte_roof"] + found["mfu"]
    measured = [row for row in train_numbers(times)["rows"] if "seconds" in row]
    assert all(len(row["seconds"]) == 2 and row["images_per_second"] > 0 for row in measured)


def test_fastreid_style_has_a_group_per_tensor_and_ours_one():
    cfg = step_cfg()
    baseline, ours = (build_variant(cfg, variant) for variant in (BASELINE, OURS))
    trainable = [one for one in ours.model.parameters() if one.requires_grad]
    assert len(baseline.optimizer.param_groups) == len(trainable)
    assert len(ours.optimizer.param_groups) == 1
    assert build_batch(cfg, BASELINE)["images"].is_contiguous()
    assert build_batch(cfg, OURS)["images"].dtype == torch.uint8


def test_training_in_stages_is_the_training_step():
    whole, staged, clock = make_step(), make_step(), StageClock(CPU)
    whole(make_batch())
    train_in_stages(staged, make_batch(), clock)
    assert list(clock.milliseconds()) == ["augmentation", "backward", "optimizer, gradient norm"]
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(staged.model.state_dict()[name], value, msg=name)


def test_profile_names_the_stages_in_order(tmp_path):
    stages = build_stage_profile(step_cfg(), tmp_path, num_images=128, steps=2)
    blocks = [name for number in (1, 2, 3, 4) for name in (f"Block {number}", f"MIIM {number}")]
    expected = [WAIT, "augmentation", "stem", *blocks, "head", "losses"]
    assert list(stages) == [*expected, "backward", "optimizer, gradient norm"]
    assert all(len(values) == 2 for values in stages.values())
    assert "100.0%" not in stage_table(stages)


def test_cost_grows_with_batch_and_identities_as_it_must():
    cfg = step_cfg()
    points = build_points(cfg, batches=(8, 16), sizes=(), identities=(1004,), repeats=1, steps=1)
    small, large, many = points
    assert 1.9 < large.activation_bytes / small.activation_bytes < 2.1
    parts = 1 + cfg.MODEL.WRIM.MAIN.STRIPES
    features = 512 * parts + 256  # ResNet-18's channels: main level and auxiliary level
    assert many.state_bytes - large.state_bytes == 1000 * features * 16
    assert [line.split("|")[2].strip() for line in scaling_table(points).splitlines()[2:]] == [
        "8",
        "16",
        "1004",
    ]
    assert build_changed(cfg, size=(64, 32)).INPUT.SIZE_TRAIN == [64, 32]
