"""The training step: it never waits for the device, on any of its ways."""

import pytest
import torch
from host_reads import HostReads
from source_tree import ROOT
from tiny_runs import tiny_cfg

from wrimnet.config import setup_cfg
from wrimnet.config.tree import changed_cfg
from wrimnet.data.build import build_dataset, build_train_loader
from wrimnet.engine.solver import build_optimizer
from wrimnet.engine.step import build_training_step
from wrimnet.lab.synthetic.generate_synthetic import generate_synthetic
from wrimnet.lab.synthetic.plan import Request
from wrimnet.modeling.weights import build_model

WAYS = {
    "paper": {},
    "clipped": {"SOLVER__CLIP_GRADIENTS__ENABLED": "True"},
    "baseline": {
        "MODEL__WRIM__MIIM__SEPARATE_STAGES": "()",
        "MODEL__WRIM__MIIM__SHARED_STAGES": "()",
        "MODEL__WRIM__AUXILIARY__ENABLED": "False",
        "MODEL__WRIM__MAIN__STRIPES": "0",
        "MODEL__WRIM__CMKIC__WEIGHT": "0",
    },
    "accumulated": {"SOLVER__ACCUMULATION_STEPS": "2", "SOLVER__IMS_PER_BATCH": "16"},
    "sgd": {"SOLVER__OPT": "SGD"},
    "adamw": {"SOLVER__OPT": "AdamW"},
}
# Look at the modality, which is on the CPU, or at labels only where they are on the CPU.
ON_THE_CPU = {
    ("wrimnet.modeling.network", "count_visible"),
    ("wrimnet.losses.classification", "check_targets"),
    ("wrimnet.losses.pairs", "check_identity_pairs"),
    ("wrimnet.losses.pairs", "check_cross_modality_pairs"),
}


READS_THE_MODALITY = (("wrimnet.data.augmentation", "__call__"),)


def build_parts(cfg):
    torch.manual_seed(0)
    dataset = build_dataset(cfg)
    cfg = changed_cfg(cfg, {"MODEL.HEADS.NUM_CLASSES": dataset.num_train_pids})
    model = build_model(cfg).train()
    loader = build_train_loader(cfg, dataset)
    return build_training_step(cfg, model, build_optimizer(cfg, model)), loader


@pytest.mark.parametrize("overrides", WAYS.values(), ids=WAYS)
def test_step_reads_no_number_of_the_device(data, tmp_path, overrides):
    step, loader = build_parts(tiny_cfg(data, tmp_path, **overrides))
    batches = [loader.load(0), loader.load(1)]
    loader.close()
    step(batches[0])  # the optimizer's state exists from the first step on
    with HostReads() as reads:
        losses = step(batches[1])
    waiting = [
        callers
        for callers in reads.found
        if not ON_THE_CPU & set(callers) and callers[:1] != READS_THE_MODALITY
    ]
    assert waiting == []
    assert all(torch.is_tensor(value) and value.ndim == 0 for value in losses.values())


@pytest.mark.parametrize(
    "read",
    [
        lambda tensor: tensor.sum().item(),
        lambda tensor: bool((tensor > 0).any()),
        lambda tensor: tensor[tensor > 0],
        lambda tensor: tensor.nonzero(),
        lambda tensor: tensor.sum().tolist(),
        lambda tensor: float(tensor.mean()),
    ],
)
def test_reads_are_found(read):
    with HostReads() as reads:
        read(torch.tensor([1.0, -1.0]))
    assert len(reads.found) >= 1


def test_sum_of_terms_is_what_the_step_minimises(data, tmp_path):
    step, loader = build_parts(tiny_cfg(data, tmp_path))
    losses = step(loader.load(0))
    loader.close()
    terms = [value for name, value in losses.items() if name.startswith("loss_")]
    torch.testing.assert_close(losses["total_loss"], sum(terms))
    assert {f"raw/{name[5:]}" for name in losses if name.startswith("loss_")} <= set(losses)


def test_repeated_steps_on_one_batch_lower_its_loss(data, tmp_path):
    overrides = {"INPUT__REA__ENABLED": "False", "INPUT__MULTISCALE_CROP__ENABLED": "False"}
    step, loader = build_parts(tiny_cfg(data, tmp_path, **overrides))
    batch = loader.load(0)
    loader.close()
    totals = [float(step(batch)["total_loss"].detach()) for _ in range(12)]
    assert totals[-1] < 0.7 * totals[0]


def test_clipping_bounds_the_gradient(data, tmp_path):
    overrides = {
        "SOLVER__CLIP_GRADIENTS__ENABLED": "True",
        "SOLVER__CLIP_GRADIENTS__CLIP_VALUE": "0.01",
    }
    step, loader = build_parts(tiny_cfg(data, tmp_path, **overrides))
    step(loader.load(0))
    loader.close()
    gradients = [p.grad.norm() for p in step.model.parameters() if p.grad is not None]
    assert float(torch.stack(gradients).norm()) == pytest.approx(0.01, rel=1e-3)


def generate_full_size(root, num_ids):
    request = Request(seed=0, train_ids=num_ids, test_ids=2, images_per_id=8, test_images_per_id=2)
    generate_synthetic(layout="llcm", out=root, request=request, height=128, width=48)


def full_recipe(root, tmp_path, *words):
    options = ["DATASETS.ROOT", str(root), "OUTPUT_DIR", str(tmp_path)]
    options += ["MODEL.BACKBONE.PRETRAIN", "False", "DATALOADER.CACHE_DIR", str(tmp_path)]
    return setup_cfg(str(ROOT / "configs/LLCM/wrim.yml"), (), [*options, *words])


@pytest.mark.slow
@pytest.mark.long
def test_full_size_steps_of_the_recipe_on_a_cpu(tmp_path):
    """384x144, batches of 16: the token grid is 24x9 after every Block, all losses are finite."""
    generate_full_size(tmp_path / "data", num_ids=4)
    words = ["MODEL.DEVICE", "cpu", "SOLVER.IMS_PER_BATCH", "16", "DATALOADER.NUM_INSTANCE", "4"]
    cfg = full_recipe(tmp_path / "data", tmp_path, *words)
    step, loader = build_parts(cfg)
    miims = step.model.backbone.miims
    grids, levels = [], {}
    for module in miims.modules():
        if type(module).__name__ == "SpatialChannelCompression":
            module.compress.register_forward_hook(lambda _, __, out: grids.append(out.shape[2:]))
    step.model.backbone.register_forward_hook(lambda _, __, output: levels.update(output))
    batches = loader.iterate(0)
    for _ in range(2):
        losses = step(next(batches))
        assert all(value.isfinite() for value in losses.values())
    batches.close()
    loader.close()
    kinds = {stage: type(miim).__name__ for stage, miim in miims.items()}
    assert kinds == {"1": "PerModality", "2": "PerModality", "3": "MIIM", "4": "MIIM"}
    assert [tuple(grid) for grid in grids] == [(24, 9)] * 12  # 2 x 2 separate + 2 shared, twice
    assert levels["main"].shape == (16, 2048, 24, 9)
    assert levels["auxiliary"].shape == (16, 1024, 24, 9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("compiling", ["never", "always"])
def test_step_does_not_wait_for_a_gpu(data, tmp_path, compiling):
    keys = {"SOLVER__PRECISION": "bf16", "SOLVER__COMPILE": compiling}
    cfg = tiny_cfg(data, tmp_path, MODEL__DEVICE="cuda", **keys)
    step, loader = build_parts(cfg)
    batches = [loader.load(iteration) for iteration in range(4)]
    loader.close()
    step(batches[0])
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches[1:]:
            losses = step(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(value.isfinite() for value in losses.values())


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fifty_steps_of_the_unmodified_recipe_stay_below_24_gigabytes(tmp_path):
    """Batch 128 at 384x144 in bf16; without ImageNet weights, which change no size."""
    generate_full_size(tmp_path / "data", num_ids=8)
    cfg = full_recipe(tmp_path / "data", tmp_path)
    torch.cuda.reset_peak_memory_stats()
    step, loader = build_parts(cfg)
    batches = loader.iterate(0)
    for _ in range(50):
        losses = step(next(batches))
    batches.close()
    loader.close()
    assert all(value.isfinite() for value in losses.values())
    assert torch.cuda.max_memory_allocated() < 24e9
