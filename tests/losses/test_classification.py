"""Partitioned classification against its literal definition, by hand, and by its laws."""

import math

import pytest
import torch
from reference.classification_loop import classification_loop

from wrimnet.losses import check_targets, partitioned_classification_loss


def make_logits(num_parts=3, num_images=6, num_classes=4, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shape = (num_parts, num_images, num_classes)
    logits = list(torch.randn(shape, generator=generator, dtype=dtype))
    return logits, torch.arange(num_images) % num_classes


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("num_parts", [1, 3, 7])
def test_equals_the_loop(num_parts, label_smoothing):
    logits, targets = make_logits(num_parts)
    loss = partitioned_classification_loss(logits, targets, label_smoothing=label_smoothing)
    expected = classification_loop(logits, targets, label_smoothing=label_smoothing)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_by_hand():
    """Four classes: the global feature knows nothing, a stripe gives 3/4 to the right one."""
    knows_nothing = torch.zeros(1, 4)
    right = torch.tensor([[0.0, math.log(9.0), 0.0, 0.0]])
    loss = partitioned_classification_loss([knows_nothing, right], torch.tensor([1]))
    assert loss.item() == pytest.approx((math.log(4) - math.log(0.75)) / 2)


def test_smoothing_by_hand():
    """s = 0.4 over 2 classes: targets 0.8 and 0.2."""
    logits = torch.tensor([[math.log(3.0), 0.0]])
    loss = partitioned_classification_loss([logits], torch.tensor([0]), label_smoothing=0.4)
    assert loss.item() == pytest.approx(-0.8 * math.log(0.75) - 0.2 * math.log(0.25))


def test_is_the_mean_of_the_parts_alone():
    logits, targets = make_logits()
    alone = [partitioned_classification_loss([part], targets) for part in logits]
    torch.testing.assert_close(partitioned_classification_loss(logits, targets), sum(alone) / 3)


def test_order_of_batch_and_parts_does_not_matter():
    logits, targets = make_logits()
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(1))
    other = partitioned_classification_loss([part[order] for part in logits[::-1]], targets[order])
    torch.testing.assert_close(partitioned_classification_loss(logits, targets), other)


def test_an_image_whose_loss_is_zero_still_counts_in_the_mean():
    logits = torch.tensor([[200.0, 0.0], [0.0, 0.0]])
    loss = partitioned_classification_loss([logits], torch.tensor([0, 0]))
    assert loss.item() == pytest.approx(math.log(2) / 2)


def test_gradcheck():
    logits, targets = make_logits(num_parts=2, num_images=3)
    leaves = [part.clone().requires_grad_() for part in logits]
    assert torch.autograd.gradcheck(
        lambda *parts: partitioned_classification_loss(parts, targets, label_smoothing=0.1), leaves
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(dtype):
    logits, targets = make_logits(dtype=torch.float32)
    logits = [part.to(dtype) for part in logits]
    outside = partitioned_classification_loss([part.float() for part in logits], targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = partitioned_classification_loss(logits, targets)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)


def test_arguments_are_not_modified():
    logits, targets = make_logits()
    before = [part.clone() for part in logits]
    partitioned_classification_loss(logits, targets)
    assert all(torch.equal(*pair) for pair in zip(logits, before, strict=True))


def test_deterministic_algorithms_suffice(deterministic_algorithms):
    logits, targets = make_logits()
    leaves = [part.clone().requires_grad_() for part in logits]
    partitioned_classification_loss(leaves, targets).backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)


@pytest.mark.parametrize("target", [-100, -1, 4])
def test_a_target_outside_the_classes_is_named(target):
    """-100 is the target that torch would leave out without a word."""
    logits, targets = make_logits()
    targets[2] = target
    with pytest.raises(ValueError, match=rf"image 2 has the target {target}; expected 0\.\.3"):
        partitioned_classification_loss(logits, targets)


def test_targets_inside_the_classes_pass():
    assert check_targets(torch.tensor([0, 3]), 4) is None


@pytest.mark.parametrize("label_smoothing", [-0.1, 1.0])
def test_a_wrong_smoothing_is_named(label_smoothing):
    with pytest.raises(ValueError, match=rf"label_smoothing is {label_smoothing}; expected 0 <="):
        partitioned_classification_loss(*make_logits(), label_smoothing=label_smoothing)


def test_no_part_is_named():
    with pytest.raises(ValueError, match="logits holds no part"):
        partitioned_classification_loss([], torch.tensor([0]))


def test_wrong_shapes_are_named():
    logits, targets = make_logits(num_parts=2)
    with pytest.raises(ValueError, match=r"\[\(6, 4\), \(6, 3\)\] and targets \(6,\)"):
        partitioned_classification_loss([logits[0], logits[1][:, :3]], targets)
    with pytest.raises(ValueError, match=r"\[\(6, 4\), \(6, 4\)\] and targets \(5,\)"):
        partitioned_classification_loss(logits, targets[1:])
