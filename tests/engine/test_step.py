"""A step with accumulation, recomputation and repetition: what changes, and what must not."""

import pytest
import torch
from step_batches import gradients_of, make_batch, make_step

from wrimnet.config import setup_cfg
from wrimnet.engine.step import micro_batches, setup_pytorch

WITHOUT_UPDATE = {"SOLVER__BASE_LR": "0.0"}
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_parts_are_whole_batches_over_fewer_identities():
    batch = make_batch()
    first, second = micro_batches(batch, 2)
    assert first["labels"].tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert second["labels"].tolist() == [2, 2, 3, 3, 2, 2, 3, 3]
    assert first["modality"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert torch.equal(first["images"], batch["images"][[0, 1, 2, 3, 8, 9, 10, 11]])
    assert torch.equal(second["images"], batch["images"][[4, 5, 6, 7, 12, 13, 14, 15]])


def test_parts_hold_every_entry_that_has_a_row_per_image():
    batch = make_batch() | {
        "camids": torch.arange(16),
        "img_paths": [f"{row}.png" for row in range(16)],
        "attached": {"masks": [f"{row}_mask.png" for row in range(16)],
                     "attributes": torch.arange(32).view(16, 2)},
    }  # fmt: skip
    _, second = micro_batches(batch, 2)
    rows = [4, 5, 6, 7, 12, 13, 14, 15]
    assert second["camids"].tolist() == rows
    assert second["img_paths"] == [f"{row}.png" for row in rows]
    assert second["attached"]["masks"] == [f"{row}_mask.png" for row in rows]
    assert second["attached"]["attributes"][:, 0].tolist() == [2 * row for row in rows]
    assert second["iteration"] == batch["iteration"]


def test_parts_keep_the_memory_format():
    images = torch.zeros(16, 3, 8, 4).to(memory_format=torch.channels_last)
    part = next(micro_batches({**make_batch(), "images": images}, 2))
    assert part["images"].is_contiguous(memory_format=torch.channels_last)


def test_accumulated_gradient_is_the_mean_over_the_parts():
    step, literal = make_step(SOLVER__ACCUMULATION_STEPS="2", **WITHOUT_UPDATE), make_step()
    reported = step(make_batch())
    totals = []
    for part in micro_batches(literal.augment(make_batch()), 2):
        totals.append(sum(literal.model(part).values()))
        (totals[-1] / 2).backward()
    torch.testing.assert_close(reported["total_loss"], sum(totals).detach() / 2)
    assert gradients_of(step.model).keys() == gradients_of(literal.model).keys()
    for name, gradient in gradients_of(literal.model).items():
        torch.testing.assert_close(gradients_of(step.model)[name], gradient, msg=name)


def test_each_part_counts_once_in_the_running_statistics():
    step = make_step(SOLVER__ACCUMULATION_STEPS="2")
    step(make_batch())
    assert step.model.backbone.bn1.num_batches_tracked == 2


def test_recomputed_blocks_change_nothing_and_count_no_batch_twice():
    plain, recomputed = make_step(), make_step(SOLVER__ACTIVATION_CHECKPOINTING="True")
    for iteration in range(2):
        losses = [step(make_batch(iteration=iteration)) for step in (plain, recomputed)]
        assert {n: v.item() for n, v in losses[0].items()} == {
            n: v.item() for n, v in losses[1].items()
        }
    states = plain.model.state_dict(), recomputed.model.state_dict()
    assert states[1]["backbone.layer4.0.bn1.num_batches_tracked"] == 2
    assert [name for name in states[0] if not torch.equal(states[0][name], states[1][name])] == []


def train_twice(device):
    states = []
    for _ in range(2):
        step = make_step(MODEL__DEVICE=device, DETERMINISTIC="True")
        for iteration in range(2):
            step(make_batch(device, iteration))
        states.append(step.model.state_dict())
    return states


def test_deterministic_mode_repeats_bit_by_bit(deterministic_algorithms):
    first, second = train_twice("cpu")
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.gpu
@needs_cuda
def test_deterministic_mode_repeats_bit_by_bit_on_a_gpu(deterministic_algorithms):
    first, second = train_twice("cuda")
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("compiling", ["never", "always"])
def test_step_never_waits_for_the_gpu(compiling):
    step, batch = make_step(MODEL__DEVICE="cuda", SOLVER__COMPILE=compiling), make_batch("cuda")
    step(batch)  # what is set up once may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_anchor_without_a_pair_is_refused_by_its_label_on_the_cpu():
    batch = make_batch()
    batch["labels"] = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 0, 0, 1, 1, 2, 2, 2, 2])
    with pytest.raises(ValueError, match=r"anchor 6 \(pid 3, visible\) has no positive"):
        make_step()(batch)


def test_label_beyond_the_classes_is_refused():
    batch = make_batch()
    batch["labels"] = batch["labels"] + 1
    with pytest.raises(ValueError, match=r"image 6 has the target 4; expected 0\.\.3"):
        make_step()(batch)


@pytest.mark.parametrize("parts", ["3", "4"])
def test_parts_that_do_not_fit_the_identities_are_refused(parts):
    with pytest.raises(ValueError, match=f"ACCUMULATION_STEPS = {parts} does not split the P = 4"):
        make_step(SOLVER__ACCUMULATION_STEPS=parts)


def test_numbered_gpu_becomes_the_current_one(monkeypatch, deterministic_algorithms):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    for device in ("cpu", "cuda", "cuda:1"):
        cfg = setup_cfg("", (), ["MODEL.DEVICE", "cpu", "DETERMINISTIC", "True"]).clone()
        cfg.defrost()
        cfg.MODEL.DEVICE = device
        setup_pytorch(cfg)
    assert chosen == [torch.device("cuda:1")]
