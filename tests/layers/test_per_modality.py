"""PerModality: two independent copies, each for its slice of the batch."""

import pytest
import torch
from torch import nn

from wrimnet.layers import MIIM, PerModality, SigmoidGate


def build_miim():
    sizes = {"channels": 8, "reduction": 2, "stride": 2, "num_heads": 2, "region_size": 3}
    return MIIM(**sizes, fusion=SigmoidGate())


def make_pair():
    torch.manual_seed(0)
    return PerModality(build_miim), torch.randn(5, 8, 8, 6)


@pytest.mark.parametrize("num_visible", [0, 1, 2, 4, 5])
def test_equals_each_copy_on_its_images(num_visible):
    pair, features = make_pair()
    pair.eval()  # in training, the images of one modality share their statistics
    out = pair(features, num_visible)
    assert out.shape == features.shape
    for i, image in enumerate(features):
        copy = pair.visible if i < num_visible else pair.infrared
        torch.testing.assert_close(out[i], copy(image[None])[0])


def test_statistics_in_training_are_those_of_one_modality():
    pair, features = make_pair()
    out = pair(features, 2)
    torch.testing.assert_close(out[:2], pair.visible(features[:2]))
    torch.testing.assert_close(out[2:], pair.infrared(features[2:]))


def test_the_copies_differ_from_the_start_and_share_nothing():
    pair, _ = make_pair()
    visible, infrared = dict(pair.visible.named_parameters()), pair.infrared.named_parameters()
    for name, parameter in infrared:
        assert parameter is not visible[name]
        if not name.startswith("compression.norm"):  # starts as ones and zeros
            assert not torch.equal(parameter, visible[name])


def test_the_block_is_built_twice():
    built = []

    def build():
        built.append(nn.Identity())
        return built[-1]

    pair = PerModality(build)
    assert [pair.visible, pair.infrared] == built


@pytest.mark.parametrize(("num_visible", "untouched"), [(5, "infrared"), (0, "visible")])
def test_a_batch_of_one_modality_uses_one_copy(num_visible, untouched):
    pair, features = make_pair()
    pair(features, num_visible).sum().backward()
    unused = {name for name, parameter in pair.named_parameters() if parameter.grad is None}
    assert unused == {name for name, _ in pair.named_parameters() if name.startswith(untouched)}


def test_a_mixed_batch_leaves_no_parameter_unused():
    pair, features = make_pair()
    pair(features, 2).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in pair.parameters())


@pytest.mark.parametrize("num_visible", [0, 2, 5])
def test_channels_last_stays_channels_last(num_visible):
    pair, features = make_pair()
    features = features.contiguous(memory_format=torch.channels_last).requires_grad_()
    out = pair(features, num_visible)
    (gradient,) = torch.autograd.grad(out.square().sum(), features)
    for tensor in (out, gradient):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
        assert not tensor.is_contiguous()


def test_the_features_are_not_modified():
    pair, features = make_pair()
    before = features.clone()
    pair(features, 2)
    assert torch.equal(features, before)


@pytest.mark.parametrize("num_visible", [-1, 6])
def test_a_wrong_number_of_visible_images_is_named(num_visible):
    pair, features = make_pair()
    with pytest.raises(ValueError, match=rf"num_visible is {num_visible}; expected 0\.\.5"):
        pair(features, num_visible)
