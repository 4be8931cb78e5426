"""Recipes at full size on a GPU that is not there: one device, nothing read, maps in bf16.

Each process takes several recipes, as importing costs more than a step.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from fake_gpu_recipes import PLANTS, ROOT, SMALL
from torch import nn

from wrimnet.config import setup_cfg
from wrimnet.lab.benchmarks.counting import StepCost
from wrimnet.lab.dry_run.cards import CARDS, Card, find_cards
from wrimnet.lab.dry_run.estimate import describe_estimate
from wrimnet.lab.dry_run.fake_cuda import asks_for_driver
from wrimnet.lab.dry_run.recipe import DryRun, check_version, has_tried_version, watch_maps
from wrimnet.modeling.feature_layout import MAPS, Tokens

needs_compiler = pytest.mark.skipif(
    not shutil.which("g++") or asks_for_driver(),
    reason="the device that is not there needs g++, and a CPU build or PyTorch 2.11 and newer",
)
MATRIX = (
    "LLCM/wrim",
    "LLCM/baseline",
    "RegDB/wrim DETERMINISTIC True",
    "SYSU/wrim SOLVER.PRECISION fp32",
    "SYSU/wrim SOLVER.OPT SGD SOLVER.CLIP_GRADIENTS.ENABLED True",
    "LLCM/wrim SOLVER.ACTIVATION_CHECKPOINTING True SOLVER.ACCUMULATION_STEPS 2",
    "LLCM/agw",
    "RegDB/caj",
    "SYSU/deen",
    "SYSU/two_stream",
)
ERRORS = {
    "tensor of a loss on the CPU": "FakeTensorDeviceMismatchError|found two different devices",
    "value read in a loss": "DataDependentOutputException",
    "indexing by a mask": "DynamicOutputShapeException",
    "map that autocast widens": "map in float32 or not channels-last: miims.1",
    "copy to the host": "read within the step: aten._to_copy",
}


def lines_of_recipes(*names):
    """The lines of JSON that the program prints."""
    program = str(Path(__file__).with_name("fake_gpu_recipes.py"))
    done = subprocess.run(
        [sys.executable, program, *names],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tools'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


CACHED = ("DATALOADER.CACHE", "gpu")


def run_recipes(names):
    """The faults of each recipe."""
    return {name: faults for one in lines_of_recipes(*names) for name, faults in one.items()}


@needs_compiler
def test_recipe_runs_on_one_device_and_planted_mistakes_are_found():
    found = run_recipes([SMALL, *PLANTS])
    assert found[SMALL] == []
    for name in PLANTS:
        assert any(words in fault for words in ERRORS[name].split("|") for fault in found[name]), (
            name,
            found[name],
        )


@needs_compiler
@pytest.mark.slow
@pytest.mark.skipif(not has_tried_version(), reason="planning kernels needs PyTorch 2.13")
def test_compiled_step_has_the_same_products_and_moves_less():
    (found,) = lines_of_recipes("compiled", SMALL)
    assert found["flops"][0] == found["flops"][1]
    uncompiled, kernels = found["bytes"]
    assert 0 < found["read_twice"] < 0.2 * uncompiled
    assert 0.5 * uncompiled < kernels < 0.9 * uncompiled


def test_attention_of_a_network_of_tokens_is_no_map():
    class Backbone(nn.Module):
        def __init__(self, layout):
            super().__init__()
            self.layout, self.miims, self.attention = layout, nn.Identity(), nn.Identity()

        def forward(self, features):
            return self.attention(self.miims(features))

    for layout, names in ((MAPS, ["miims", "attention", ""]), (Tokens(1, tuple), [""])):
        model = nn.Module()
        model.backbone = Backbone(layout)
        found = watch_maps(model)
        model.backbone(torch.zeros(2, 3, 4, 5))
        assert found == names


def test_older_compilers_are_refused(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.11.0+cu130")
    with pytest.raises(ValueError, match=r"PyTorch 2\.11\.0.* needs 2\.13 or newer"):
        check_version()


@needs_compiler
@pytest.mark.slow
@pytest.mark.long
def test_every_way_to_train_runs_on_one_device():
    assert run_recipes(MATRIX) == {name: [] for name in MATRIX}


@needs_compiler
@pytest.mark.slow
def test_command_prints_its_table_without_data(tmp_path):
    words = ["--config-file", "configs/SYSU/wrim.yml", "--dry-run", "--gpu", "rtx3090"]
    done = subprocess.run(
        [sys.executable, "tools/train_net.py", *words, "DATASETS.ROOT", str(tmp_path), *CACHED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Counted on a simulated CUDA device" in done.stdout
    size = 34_167 * 384 * 144 * 3 / 1e9
    assert re.search(rf"\| training images in memory +\| +{size:.2f} \|", done.stdout)
    assert re.search(r"\| rtx3090 +\|.* fits: [0-9.]+ of 24 GB", done.stdout)


def test_cards_are_found_by_name_or_given():
    assert find_cards(["RTX3090", "mine=16,40,20,448"]) == {
        "rtx3090": CARDS["rtx3090"],
        "mine": Card(16, 40, 20, 448),
    }
    for entry in ("rtx1", "mine=16,40", "mine=a,b,c,d"):
        with pytest.raises(ValueError, match=rf"--gpu {entry}: expected one of rtx3090.*, or NAME"):
            find_cards([entry])


def test_table_of_counts_that_are_known():
    """An operator bound by products for 10 ms on this card, one bound by memory for 30 ms."""
    cfg = setup_cfg(str(ROOT / "configs/SYSU/wrim.yml"), (), ["MODEL.DEVICE", "cpu"]).clone()
    cfg.defrost()
    cfg.SOLVER.PRECISION = "bf16"
    run = DryRun(
        cfg=cfg,
        read_twice=10**9,
        compiled=StepCost([(10**11, 10**6), (0, 10**9), (0, 0)]),
        images=34_167,
        parameters=39_000_000,
        cost=StepCost([(10**11, 10**6), (0, 3 * 10**9)]),
        bytes_of=Counter(add=3 * 10**9, mm=10**6),
        peak={"weights": 10**9, "activations and the rest": 7 * 10**9},
        faults=["read within the step: aten.item at x.py:1"],
    )
    cards = {"mine": Card(10, 10, 5, 100), "smaller": Card(9.9, 10, 5, 100)}
    text = describe_estimate(run, cards)
    for line in (
        r"\| training images, iterations per epoch +\| +34,167, 266 \|",
        r"\| GFLOP per step, per image +\| +100, 0\.8 \|",
        r"\| together +\| +8\.00 \|",
        r"\| add +\| +3\.0 \|",
        rf"\| mine +\| +40\.0 \| +3,200 \| +{0.04 * 266 * 140 / 3600:.2f} \| +fits: 10\.0 of 10 GB",
        r"\| smaller .* does not fit: 10\.0 of 9\.9 GB +\|",
        r"\| compiled: GB moved per step, by kernels +\| +1\.0 \|",
        r"\| compiled: kernels that move memory per step +\| +2 \|",
        r"\| batch norm's second readings, GB, in kernels only +\| +1\.0",
        rf"\| mine .* \| +{128 / 0.02:,.0f} \|",
        r"- read within the step: aten\.item at x\.py:1",
    ):
        assert re.search(line, text), (line, text)
