"""FastReID 1.4.0 does thirteen things wrongly and silently; each is impossible here.

The numbers are those of the audit that the design rests on: what the base does is said in each
test, what holds here is tested.
"""

import random

import wrimnet.compat  # noqa: F401

import numpy as np
import pytest
import torch
from fastreid.data.datasets import DATASET_REGISTRY
from fastreid.engine import DefaultTrainer
from fastreid.engine.train_loop import TrainerBase
from fastreid.evaluation import ReidEvaluator
from fastreid.layers.non_local import Non_local
from tiny_runs import losses_of, make_trainer, read_lines, tiny_cfg
from torch import nn

from wrimnet.config.tree import changed_cfg
from wrimnet.data.build import build_dataset, build_train_loader
from wrimnet.engine.run import train
from wrimnet.engine.solver import build_lr_scheduler, build_optimizer
from wrimnet.engine.step import build_training_step
from wrimnet.evaluation.evaluator import build_evaluator
from wrimnet.losses import partitioned_classification_loss, triplet_loss
from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.modeling.weights import build_model

# Parameters whose gradient is zero by the mathematics of their layer, not by a mistake: a bias in
# front of a batch normalization is subtracted again with the batch's mean.
ZERO_GRADIENT = {
    "heads.main.projection.0.bias",
    "heads.auxiliary.projection.0.bias",
}


@pytest.fixture
def cfg_of(data, tmp_path):
    (tmp_path / "out").mkdir()
    return lambda **overrides: tiny_cfg(data, tmp_path / "out", **overrides)


def build_step(cfg):
    """Step, model, optimizer and batches of a configuration."""
    torch.manual_seed(0)
    dataset = build_dataset(cfg)
    cfg = changed_cfg(cfg, {"MODEL.HEADS.NUM_CLASSES": 5})
    model = build_model(cfg).train()
    optimizer = build_optimizer(cfg, model)
    return (
        build_training_step(cfg, model, optimizer),
        model,
        optimizer,
        build_train_loader(cfg, dataset),
    )


def test_trap_01_one_step_moves_every_trainable_parameter(cfg_of):
    """The base's contiguous parameters keep their values for ever."""
    cfg = cfg_of(SOLVER__WEIGHT_DECAY="0", INPUT__SIZE_TRAIN="[96, 48]", SOLVER__PRECISION="fp32")
    step, model, _, loader = build_step(cfg)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    step(loader.load(0))
    loader.close()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert len(trained) > 60
    assert [name for name, p in trained.items() if p.grad is None] == []
    largest = max(float(p.grad.abs().max()) for p in trained.values())
    zero = {n for n, p in trained.items() if float(p.grad.abs().max()) <= 1e-7 * largest}
    assert zero <= ZERO_GRADIENT
    unmoved = {name for name, p in trained.items() if torch.equal(p, before[name])}
    assert unmoved <= ZERO_GRADIENT
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert all("necks" in name and name.endswith("bias") for name in frozen)
    assert all(torch.equal(dict(model.named_parameters())[n], before[n]) for n in frozen)


def test_trap_01_gradients_do_not_accumulate_over_steps(cfg_of):
    cfg = cfg_of(SOLVER__BASE_LR="0", SOLVER__WEIGHT_DECAY="0")
    step, model, _, loader = build_step(cfg)
    gradients = []
    for _ in range(2):
        step(loader.load(0))
        gradients.append([p.grad.clone() for p in model.parameters() if p.requires_grad])
    loader.close()
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)


def test_trap_02_normalization_leaves_the_images_alone(cfg_of):
    """The base normalizes in place, so that its flip test normalizes twice."""
    _, model, _, loader = build_step(cfg_of())
    loader.close()
    images = torch.rand(2, 3, 32, 16) * 255
    kept = images.clone()
    normalized = model.preprocess_image(images)
    assert torch.equal(images, kept)
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    by_hand = (kept - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(normalized, by_hand)
    torch.testing.assert_close(model.preprocess_image(images), by_hand)


@pytest.mark.parametrize("warm_up", [0, 5, 10, 25])
def test_trap_03_rate_drops_at_the_configured_epochs_whatever_the_warm_up(cfg_of, warm_up):
    """The base moves the steps by the length of the warm-up."""
    cfg = cfg_of(
        SOLVER__MAX_EPOCH="140", SOLVER__STEPS="[80, 120]", SOLVER__WARMUP_ITERS=str(warm_up)
    )
    iters_per_epoch = 10
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=cfg.SOLVER.BASE_LR)
    schedule = build_lr_scheduler(cfg, optimizer, iters_per_epoch)
    rates = []
    for _ in range(140 * iters_per_epoch):
        rates.append(optimizer.param_groups[0]["lr"] / cfg.SOLVER.BASE_LR)
        optimizer.step()
        schedule.step()
    factors = {80 * 10 - 1: 1.0, 80 * 10: 0.1, 120 * 10 - 1: 0.1, 120 * 10: 0.01, 1399: 0.01}
    for iteration, factor in factors.items():
        assert rates[iteration] == pytest.approx(factor)
    assert rates[0] == pytest.approx(0.1 if warm_up else 1.0)
    assert rates[warm_up] == pytest.approx(1.0)


def test_trap_04_best_weights_survive_a_resume_followed_by_worse_ones(cfg_of, monkeypatch):
    """The base forgets the best value when it resumes and overwrites its file with a worse one."""
    first = make_trainer(cfg_of())
    first.iter = 1
    _pretend_map(first, 0.7)
    first.save_checkpoint()
    second = make_trainer(cfg_of(), resume=True)
    assert second.best["value"] == 0.7
    second.iter = 3
    _pretend_map(second, 0.6)
    path = second.output_dir / "model_best.pth"
    kept = torch.load(path, weights_only=True)
    assert (kept["best"]["value"], kept["chosen_on"]) == (0.7, "test set")
    _pretend_map(second, 0.8)
    assert torch.load(path, weights_only=True)["best"]["value"] == 0.8
    for trainer in (first, second):
        trainer.data_loader.close()


def _pretend_map(trainer, value):
    report = type("Report", (), {"metrics": {"llcm_ir2vis": {"mAP": value}}})
    trainer._keep_best(report)


def test_trap_05_one_seed_one_run_and_no_global_state_is_touched(data, tmp_path):
    """The base seeds from process number and time, and its samplers reseed NumPy."""
    outputs = [tmp_path / name for name in ("one", "two", "other")]
    for output, seed in zip(outputs, ("3", "3", "4"), strict=True):
        random.seed(str(output))
        train(tiny_cfg(data, output, SEED=seed, SOLVER__MAX_EPOCH="1"))
    one, two, other = map(losses_of, outputs)
    assert one == two
    assert one != other


def test_trap_05_batches_use_no_global_generator(cfg_of):
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    cfg = cfg_of()
    loader = build_train_loader(cfg, build_dataset(cfg))
    step_images = loader.load(7)["images"]
    assert torch.equal(loader.load(7)["images"], step_images)
    loader.close()
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert states == after


def test_trap_06_labels_are_integers_of_all_training_identities(cfg_of):
    """The base's collation turns NumPy integers into None."""
    cfg = cfg_of(SOLVER__IMS_PER_BATCH="20")
    loader = build_train_loader(cfg, build_dataset(cfg))
    batch = loader.load(0)
    loader.close()
    assert batch["targets"].dtype == batch["modality"].dtype == batch["camids"].dtype == torch.int64
    assert sorted(set(batch["targets"].tolist())) == [0, 1, 2, 3, 4]
    assert None not in batch.values()


def test_trap_07_misspelt_loss_cannot_train_without_a_loss(cfg_of):
    """The base trains happily with the losses it does not know left out."""
    with pytest.raises(KeyError, match=r"nearest known key is 'MODEL.WRIM.TRIPLET.WEIGHT'"):
        cfg_of(MODEL__WRIM__TRIPLETT__WEIGHT="1.0")
    with pytest.raises(ValueError, match=r"MODEL.LOSSES.NAME = .* use the weights under MODEL"):
        cfg_of(MODEL__LOSSES__NAME='("TripletLos",)')


def test_trap_07_batch_of_one_identity_is_an_error():
    """The base's triplet loss of it is 0."""
    with pytest.raises(ValueError, match="identit"):
        triplet_loss(torch.randn(4, 8), torch.zeros(4, dtype=torch.int64), margin=0.3)


def test_trap_07_total_is_the_sum_of_the_logged_terms_and_none_has_weight_zero(data, tmp_path):
    overrides = {"MODEL__WRIM__CMKIC__WEIGHT": "0", "SOLVER__MAX_EPOCH": "1"}
    train(tiny_cfg(data, tmp_path / "out", **overrides))
    line = read_lines(tmp_path / "out")[0]
    terms = {name: value for name, value in line.items() if name.startswith("loss_")}
    assert set(terms) == {"loss_cls", "loss_tri", "loss_cls_aux", "loss_tri_aux"}
    assert line["total_loss"] == pytest.approx(sum(terms.values()), rel=1e-6)


def test_trap_08_wrapped_pretrained_weights_load_or_stop_the_run(cfg_of, tmp_path):
    """The base loads nothing from a file with a wrapper it does not know, and goes on."""
    _, model, _, loader = build_step(cfg_of())
    loader.close()
    backbone = {n: t for n, t in model.backbone.state_dict().items() if not n.startswith("miims")}
    for name, content in {"good": {"model": backbone}, "bad": {"weights": backbone}}.items():
        torch.save(content, tmp_path / f"{name}.pth")
    overrides = {"MODEL__BACKBONE__PRETRAIN": "True"}
    good = cfg_of(MODEL__BACKBONE__PRETRAIN_PATH=str(tmp_path / "good.pth"), **overrides)
    loaded = build_model(good).backbone.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in backbone.items())
    bad = cfg_of(MODEL__BACKBONE__PRETRAIN_PATH=str(tmp_path / "bad.pth"), **overrides)
    with pytest.raises(ValueError, match="holds no weights"):
        build_model(bad)


def test_trap_09_classification_is_the_plain_mean_and_smooths_over_all_classes():
    """The base averages over the images whose loss is not 0, and smooths by eps/(C-1)."""
    logits = torch.tensor([[100.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # the first image's loss is 0
    targets = torch.tensor([0, 1])
    each = -logits.log_softmax(1)
    plain = (each[0, 0] + each[1, 1]) / 2
    torch.testing.assert_close(partitioned_classification_loss([logits], targets), plain)
    smoothed = 0.7 * plain + 0.3 * each.mean()
    found = partitioned_classification_loss([logits], targets, label_smoothing=0.3)
    torch.testing.assert_close(found, smoothed)


def test_trap_09_no_non_local_block_and_no_frozen_layers(cfg_of):
    """The base's non-local block has one channel inside; its freezing ends at an evaluation."""
    _, model, _, loader = build_step(cfg_of())
    loader.close()
    assert not any(isinstance(module, Non_local) for module in model.modules())
    for key, value in {
        "MODEL__BACKBONE__WITH_NL": "True",
        "MODEL__FREEZE_LAYERS": '["backbone"]',
        "SOLVER__FREEZE_ITERS": "10",
    }.items():
        with pytest.raises(ValueError, match="is not read by WRIM-Net"):
            cfg_of(**{key: value})


def test_trap_10_distance_of_a_feature_to_itself_is_small_under_autocast():
    """Under autocast the base's distance of a feature to itself is off by 1 to 3."""
    feature = torch.randn(1, 2048) * 3
    features = torch.cat([feature, feature, feature + 1, feature + 1])  # d_p = 0, d_n = sqrt(2048)
    targets = torch.tensor([0, 0, 1, 1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = triplet_loss(features, targets, margin=50.0)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(50 - 2048**0.5, abs=0.05)


def test_trap_11_the_bases_own_sysu_dataset_cannot_be_named(cfg_of):
    """The base has an RGB-only data set of this name, with the test identities in training."""
    with pytest.raises(ValueError, match="expected exactly one of LLCM, RegDB, SYSU-MM01"):
        build_dataset(cfg_of(DATASETS__NAMES='("SYSU_mm",)'))
    assert DATASET_REGISTRY.get("SYSU_MM01").__module__.startswith("wrimnet.")


def test_trap_12_evaluation_compiles_nothing_and_is_not_the_bases(cfg_of, monkeypatch):
    """The base's evaluator runs `make` in the installed package and may end the program."""

    def refuse(*args, **kwargs):
        raise AssertionError("a program was started")

    cfg = cfg_of()
    evaluator = build_evaluator(cfg, build_dataset(cfg))
    assert not isinstance(evaluator, ReidEvaluator)
    _, model, _, loader = build_step(cfg)
    loader.close()
    monkeypatch.setattr("os.system", refuse)
    monkeypatch.setattr("fastreid.evaluation.rank_cylib.compile_helper", refuse)
    metrics = evaluator.run(model.eval()).metrics
    assert set(metrics) == {"llcm_ir2vis", "llcm_vis2ir"}


def test_trap_13_modality_travels_under_its_own_key_and_cameras_are_not_renumbered(cfg_of):
    """The base renumbers the cameras in training; LLCM's modalities share camera numbers."""
    cfg = cfg_of(SOLVER__IMS_PER_BATCH="20")
    loader = build_train_loader(cfg, build_dataset(cfg))
    batch = loader.load(0)
    loader.close()
    assert batch["modality"].tolist() == [VISIBLE] * 10 + [INFRARED] * 10
    assert batch["modality"].device.type == "cpu"
    for path, camera, modality in zip(
        batch["img_paths"], batch["camids"].tolist(), batch["modality"].tolist(), strict=True
    ):
        assert f"_c{camera:02d}_" in path
        assert ("_vis." in path) == (modality == VISIBLE)
    cameras = [set(batch["camids"][batch["modality"] == m].tolist()) for m in (VISIBLE, INFRARED)]
    assert cameras[0] & cameras[1]


def test_evaluation_period_zero_evaluates_once_at_the_end(data, tmp_path):
    """The base divides by zero."""
    train(tiny_cfg(data, tmp_path / "out", TEST__EVAL_PERIOD="0"))
    evaluated = [line["iteration"] for line in read_lines(tmp_path / "out") if _has_map(line)]
    assert evaluated == [4]


def _has_map(line):
    return "llcm_ir2vis/mAP" in line


def test_dataset_smaller_than_a_batch_is_a_sentence(cfg_of):
    """The base divides by zero."""
    cfg = cfg_of(
        SOLVER__IMS_PER_BATCH="80", DATALOADER__NUM_INSTANCE="8", SOLVER__ITERS_PER_EPOCH="0"
    )
    with pytest.raises(ValueError, match=r"40 training images do not fill one batch of .* = 80"):
        make_trainer(cfg)


def test_resuming_a_finished_run_ends_at_once(data, tmp_path):
    """The base ends in an AttributeError."""
    cfg = tiny_cfg(data, tmp_path / "out", SOLVER__MAX_EPOCH="1")
    assert train(cfg) == 0
    before = read_lines(tmp_path / "out")
    assert train(cfg, resume=True) == 0
    assert read_lines(tmp_path / "out") == before


def test_trainer_replaces_the_parts_of_the_base_that_do_not_work(cfg_of):
    trainer = make_trainer(cfg_of())
    trainer.data_loader.close()
    assert type(trainer.data_loader).__module__ == "wrimnet.data.loader"
    assert isinstance(trainer.optimizer, torch.optim.Adam)
    assert isinstance(trainer, TrainerBase) and not isinstance(trainer, DefaultTrainer)
    assert isinstance(trainer.model, nn.Module)
