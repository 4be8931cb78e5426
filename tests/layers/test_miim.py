"""MIIM and its three modules against the literal definition, and by their contracts."""

import pytest
import torch
from reference.miim_literal import compress_literal, interact_literal, miim_literal

from wrimnet.layers import (
    MIIM,
    Addition,
    GlobalRegionInteraction,
    Multiplication,
    SigmoidGate,
    SpatialChannelCompression,
    SpatialChannelRestoration,
)
from wrimnet.layers.scr import enlarge

FUSIONS = {"sigmoid": SigmoidGate, "multiply": Multiplication, "add": Addition}
SMALL = {"channels": 8, "reduction": 2, "stride": 2, "num_heads": 2, "region_size": 3}


def make_block(fusion="sigmoid", seed=0, kind=MIIM, **changed):
    torch.manual_seed(seed)
    fusion = FUSIONS[fusion]() if isinstance(fusion, str) else fusion
    return kind(**(SMALL | {"fusion": fusion} | changed)).double()


def restored_map(block, features):
    """F5, enlarged, by the public steps."""
    tokens, regions = block.compress(features)
    size = tuple(features.shape[2:])
    return enlarge(block.restore(block.interact(tokens, regions), size), size)


def make_features(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def is_channels_last(tensor):
    return tensor.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("fusion", ["sigmoid", "multiply", "add"])
@pytest.mark.parametrize("norm", ["entrance", "none"])
@pytest.mark.parametrize(
    ("stride", "height", "width"),
    [(1, 4, 5), (2, 8, 6), (2, 9, 7), (4, 10, 5)],
    ids=["stride 1", "even", "rest of 1", "rest of 2 and 1"],
)
def test_equals_the_literal_definition(fusion, norm, stride, height, width):
    block = make_block(fusion, stride=stride, norm=norm)
    features = 3 * make_features(2, 8, height, width) + 1
    settings = {"stride": stride, "region_size": 3, "num_heads": 2, "fusion": fusion}
    with torch.no_grad():
        torch.testing.assert_close(block(features), miim_literal(block, features, **settings))
        block.eval()  # the statistics have seen one batch: they are not the ones of this batch
        torch.testing.assert_close(block(features), miim_literal(block, features, **settings))


def test_norm_at_the_entrance_is_the_default():
    options = SMALL | {"fusion": SigmoidGate()}
    assert isinstance(MIIM(**options).entrance, torch.nn.BatchNorm2d)
    assert isinstance(MIIM(**options, norm="none").entrance, torch.nn.Identity)


def test_compression_equals_the_literal_definition():
    block = make_block(stride=1)
    block.compression.norm.weight.data.uniform_(0.5, 2)
    block.compression.norm.bias.data.uniform_(-1, 1)
    features = make_features(1, 8, 5, 4)
    with torch.no_grad():
        tokens, regions = block.compression(features)
        expected_tokens, expected_regions, _ = compress_literal(block, features[0], 1, 3)
    torch.testing.assert_close(tokens[0], torch.stack(expected_tokens))
    torch.testing.assert_close(regions[0], torch.stack(expected_regions))
    assert regions.shape == (1, 4, 4)  # 2x2 regions of 3x3, 3x1, 2x3 and 2x1 positions


def test_interaction_equals_the_literal_definition():
    block = make_block()
    tokens, regions = make_features(1, 5, 4), make_features(1, 3, 4, seed=1)
    with torch.no_grad():
        expected = torch.stack(interact_literal(block, tokens[0], regions[0], num_heads=2))
        torch.testing.assert_close(block.interaction(tokens, regions)[0], expected)


def normalized(grid):
    """Zero mean and unit variance of each channel over images and positions."""
    mean = grid.mean((0, 2, 3), keepdim=True)
    variance = ((grid - mean) ** 2).mean((0, 2, 3), keepdim=True)
    return (grid - mean) / (variance + 1e-5).sqrt()


@pytest.mark.parametrize("norm", ["entrance", "gate", "both"])
def test_norms_without_weights_stand_at_the_entrance_and_on_the_logits(norm):
    plain, block = make_block("add", norm="none"), make_block(norm=norm)
    assert dict(plain.named_parameters()).keys() == dict(block.named_parameters()).keys()
    features = make_features(4, 8, 8, 6)
    entering = normalized(features) if norm != "gate" else features
    logits = restored_map(plain, entering)
    expected = features * (normalized(logits) if norm != "entrance" else logits).sigmoid()
    torch.testing.assert_close(block(features), expected)


def test_gate_of_scale_two_lies_between_zero_and_two():
    features = make_features(2, 8, 8, 6)
    gate = make_block(SigmoidGate(2.0)).gate(features)
    torch.testing.assert_close(gate, 2 * make_block().gate(features))


def test_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="norm is 'exit'; expected one of none, entrance"):
        make_block(norm="exit")


def test_residual_adds_the_tokens_and_changes_neither_parameters_nor_initialization():
    plain, residual = make_block(), make_block(residual=True)
    assert plain.state_dict().keys() == residual.state_dict().keys()
    tokens, regions = make_features(1, 5, 4), make_features(1, 3, 4, seed=1)
    expected = tokens + plain.interaction(tokens, regions)
    torch.testing.assert_close(residual.interaction(tokens, regions), expected)


def test_without_a_residual_positions_differ_in_the_third_order():
    """Tokens and regions of one vector but for a part e: halving e divides the spread by 8."""
    common, tokens, regions = make_features(1, 1, 4), make_features(1, 5, 4), make_features(1, 3, 4)

    def spread(part, residual):
        block = make_block(residual=residual).interaction
        return block(common + part * tokens, common + part * regions).std(1).norm().item()

    assert spread(0.02, False) / spread(0.01, False) == pytest.approx(8, rel=0.1)
    assert spread(0.02, True) / spread(0.01, True) == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(
    ("channels", "reduction", "stride", "height", "width"),
    [(256, 2, 4, 96, 36), (512, 2, 2, 48, 18), (1024, 4, 1, 24, 9), (2048, 4, 1, 24, 9)],
    ids=["Block 1", "Block 2", "Block 3", "Block 4"],
)
def test_shapes_at_384x144(channels, reduction, stride, height, width):
    block = MIIM(
        channels=channels,
        reduction=reduction,
        stride=stride,
        num_heads=8,
        region_size=3,
        fusion=SigmoidGate(),
    )
    features = torch.zeros(1, channels, height, width)
    with torch.no_grad():
        tokens, regions = block.compression(features)
        assert tokens.shape == (1, 24 * 9, channels // reduction)
        assert regions.shape == (1, 24, channels // reduction)
        assert block.interaction(tokens, regions).shape == tokens.shape
        assert block(features).shape == features.shape


def test_regions_at_256x144():
    compression = SpatialChannelCompression(channels=8, reduction=4, stride=1, region_size=3)
    assert compression(torch.zeros(1, 8, 16, 9))[1].shape == (1, 6 * 3, 2)


def test_parameters_are_the_ones_of_the_definition():
    shapes = {name: tuple(value.shape) for name, value in make_block().named_parameters()}
    assert shapes == {
        "compression.compress.weight": (4, 8, 2, 2),
        "compression.compress.bias": (4,),
        "compression.norm.weight": (4,),
        "compression.norm.bias": (4,),
        "interaction.query.weight": (4, 4),
        "interaction.key.weight": (4, 4),
        "interaction.value.weight": (4, 4),
        "interaction.output.weight": (4, 4),
        "interaction.output.bias": (4,),
        "restoration.expand.weight": (8, 4),
        "restoration.expand.bias": (8,),
    }


def test_every_parameter_learns():
    block = make_block()
    block(make_features(2, 8, 8, 6)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in block.parameters())


def test_the_fusion_mode_changes_neither_parameters_nor_initialization():
    states = [make_block(fusion).state_dict() for fusion in ("sigmoid", "multiply", "add")]
    for other in states[1:]:
        assert states[0].keys() == other.keys()
        assert all(torch.equal(states[0][name], other[name]) for name in other)


def test_features_are_fused_with_the_gate_or_the_restored_map():
    features = make_features(2, 8, 8, 6)
    restored = restored_map(make_block(), features)
    gate = make_block().gate(features)
    torch.testing.assert_close(gate, torch.sigmoid(restored))
    assert torch.equal(make_block("sigmoid")(features), features * gate)
    assert torch.equal(make_block("multiply")(features), features * restored)
    assert torch.equal(make_block("add")(features), features + restored)


def test_gate_before_and_after_the_upsampling_is_the_same():
    block, features = make_block(), make_features(2, 8, 9, 7)
    fused = block.fuse(features, restored_map(block, features))
    assert torch.equal(block(features), fused)


class Affine(MIIM):
    def fuse(self, features, restored):
        return features * (1 + restored) + restored


class Doubled(MIIM):
    def restore(self, tokens, size):
        return 2 * super().restore(tokens, size)


def test_a_fusion_of_ones_own_gets_the_restored_map_and_no_gate():
    features = make_features(2, 8, 9, 7)
    plain, block = make_block(), make_block(kind=Affine)
    assert plain.has_gate and not block.has_gate
    restored = restored_map(plain, features)
    assert torch.equal(block(features), features * (1 + restored) + restored)


class ResidualGate(SigmoidGate):
    def forward(self, features, restored):
        return features + super().forward(features, restored)


def test_a_forward_of_ones_own_in_a_subclass_of_the_gate_is_used():
    features, block = make_features(2, 8, 9, 7), make_block()
    restored = restored_map(block, features)
    block.fusion = ResidualGate()
    assert not block.has_gate
    assert torch.equal(block(features), features + features * restored.sigmoid())


def test_a_step_of_ones_own_is_used_by_output_and_gate():
    features = make_features(2, 8, 9, 7)
    block = make_block(kind=Doubled)
    gate = torch.sigmoid(2 * restored_map(make_block(), features))
    torch.testing.assert_close(block.gate(features), gate)
    assert torch.equal(block(features), features * block.gate(features))


def test_a_restoration_of_zero_weights_halves_removes_or_keeps_the_features():
    features = make_features(2, 8, 8, 6)
    for fusion, factor in (("sigmoid", 0.5), ("multiply", 0.0), ("add", 1.0)):
        block = make_block(fusion)
        block.restoration.expand.weight.data.zero_()
        block.restoration.expand.bias.data.zero_()
        assert torch.equal(block(features), factor * features)


def test_restoration_repeats_each_token_over_its_stride():
    restoration = SpatialChannelRestoration(channels=2, reduction=1, stride=2)
    restoration.expand.weight.data.copy_(torch.eye(2))
    restoration.expand.bias.data.zero_()
    tokens = torch.arange(6.0).view(1, 6, 1).expand(1, 6, 2)  # a 2x3 grid
    rows = [[0.0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5], [3, 3, 4, 4, 5, 5]]
    assert torch.equal(enlarge(restoration(tokens, (4, 6)), (4, 6))[0, 1], torch.tensor(rows))


def test_queries_are_the_tokens_and_keys_only_the_regions():
    """A token's output depends on itself and on the regions, not on the other tokens."""
    torch.manual_seed(0)
    interaction = GlobalRegionInteraction(channels=4, num_heads=2).double()
    tokens, regions = make_features(1, 5, 4), make_features(1, 3, 4, seed=1)
    before = interaction(tokens, regions)
    changed = tokens.clone()
    changed[0, 2] += 1
    moved = (interaction(changed, regions) - before).abs().sum(2)[0] > 1e-9
    assert moved.tolist() == [False, False, True, False, False]
    changed = regions.clone()
    changed[0, 1] += 1
    assert ((interaction(tokens, changed) - before).abs().sum(2) > 1e-9).all()


def test_order_of_the_regions_does_not_matter():
    torch.manual_seed(0)
    interaction = GlobalRegionInteraction(channels=4, num_heads=2).double()
    tokens, regions = make_features(1, 5, 4), make_features(1, 3, 4, seed=1)
    shuffled = interaction(tokens, regions[:, [2, 0, 1]])
    torch.testing.assert_close(interaction(tokens, regions), shuffled)


@pytest.mark.parametrize("norm", ["entrance", "none"])
def test_images_do_not_see_each_other_in_evaluation(norm):
    block, features = make_block(norm=norm).eval(), make_features(4, 8, 8, 6)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(block(features[order]), block(features)[order])
    torch.testing.assert_close(block(features[:1]), block(features)[:1])


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_channels_last_stays_channels_last(stride):
    block = make_block(stride=stride)
    features = make_features(2, 8, 9, 8).contiguous(memory_format=torch.channels_last)
    out = block(features.requires_grad_())
    assert is_channels_last(out) and not out.is_contiguous()
    assert is_channels_last(block.gate(features))
    torch.testing.assert_close(out, block(features.detach().contiguous()))
    (gradient,) = torch.autograd.grad(out.square().sum(), features)
    assert is_channels_last(gradient) and not gradient.is_contiguous()


def test_the_tokens_of_a_channels_last_map_are_a_view():
    compression = make_block().compression
    compression.norm = torch.nn.Identity()
    features = make_features(2, 8, 8, 6).contiguous(memory_format=torch.channels_last)
    compressed = []
    compression.compress.register_forward_hook(lambda *call: compressed.append(call[2]))
    tokens, _ = compression(features)
    assert tokens.data_ptr() == compressed[0].data_ptr() and tokens.is_contiguous()


def test_the_features_are_not_modified():
    features = make_features(2, 8, 8, 6)
    before = features.clone()
    for fusion in ("sigmoid", "multiply", "add"):
        make_block(fusion)(features)
    assert torch.equal(features, before)


@pytest.mark.parametrize("fusion", ["sigmoid", "multiply", "add"])
def test_gradcheck(fusion):
    block = make_block(fusion)
    assert torch.autograd.gradcheck(block, make_features(1, 8, 5, 4).requires_grad_())


def test_deterministic_algorithms_suffice(deterministic_algorithms):
    features = make_features(2, 8, 9, 8).requires_grad_()
    make_block()(features).sum().backward()
    assert features.grad.isfinite().all()


def test_runs_under_autocast():
    block = make_block().float()
    features = make_features(2, 8, 8, 6, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = block(features)
    torch.testing.assert_close(inside.float(), block(features), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"reduction": 3}, r"channels \(8\) is not a multiple of reduction \(3\)"),
        ({"num_heads": 3}, r"compressed channels \(4\) are not a multiple of num_heads \(3\)"),
    ],
)
def test_wrong_settings_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        make_block(**changed)


def test_a_map_smaller_than_the_stride_is_named():
    with pytest.raises(ValueError, match="the feature map is 12x3, smaller than the stride 4"):
        make_block(stride=4)(make_features(1, 8, 12, 3))


def test_map_stays_in_bf16_under_autocast():
    """Upsampling is on autocast's float32 list; the enlarged map has the grid's own values."""
    block, features = make_block(stride=2).float(), make_features(2, 8, 8, 6).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gate = block.gate(features)
        assert block(features).dtype == torch.bfloat16
    assert gate.dtype == torch.bfloat16
    blocks = gate.unflatten(2, (4, 2)).unflatten(4, (3, 2))
    assert torch.equal(blocks, blocks[:, :, :, :1, :, :1].expand_as(blocks))
