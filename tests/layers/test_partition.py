"""Stripes are split as numpy.array_split does, and pooled without a change of layout."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wrimnet.layers import global_average_pool, partition_pool


def make_features(*shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@settings(max_examples=40, deadline=None)
@given(num_rows=st.integers(1, 24), data=st.data())
def test_equals_array_split(num_rows, data):
    num_stripes = data.draw(st.integers(1, num_rows))
    features = make_features(2, 3, num_rows, 4)
    stripes = np.array_split(features.numpy(), num_stripes, axis=2)
    expected = np.stack([stripe.mean(axis=(2, 3)) for stripe in stripes], axis=1)
    pooled = partition_pool(features, num_stripes)
    assert pooled.shape == (2, num_stripes, 3)
    np.testing.assert_allclose(pooled.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_sixteen_rows_in_six_stripes_by_hand():
    rows = torch.arange(16.0).view(1, 1, 16, 1).expand(1, 1, 16, 9)
    pooled = partition_pool(rows, 6)[0, :, 0].tolist()
    assert pooled == [1.0, 4.0, 7.0, 10.0, 12.5, 14.5]  # 3, 3, 3, 3, 2, 2 rows


def test_one_stripe_is_the_global_pool():
    features = make_features(2, 3, 8, 4)
    assert torch.equal(partition_pool(features, 1)[:, 0], global_average_pool(features))
    torch.testing.assert_close(global_average_pool(features), features.mean((2, 3)))


def test_stripes_of_equal_height_average_to_the_global_pool():
    features = make_features(2, 3, 24, 9)
    torch.testing.assert_close(partition_pool(features, 2).mean(1), global_average_pool(features))


def test_bfloat16_maps_are_summed_in_float32():
    features = make_features(2, 3, 24, 9).bfloat16()
    for pooled, exact in (
        (global_average_pool(features), features.double().mean((2, 3))),
        (partition_pool(features, 1)[:, 0], features.double().mean((2, 3))),
    ):
        assert pooled.dtype == torch.float32
        torch.testing.assert_close(pooled.double(), exact, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("pool", [global_average_pool, lambda f: partition_pool(f, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_of_a_channels_last_map_is_channels_last(pool, dtype):
    """Otherwise the whole backward pass of the backbone would begin with a change of layout."""
    features = make_features(2, 3, 8, 4, dtype=dtype).contiguous(memory_format=torch.channels_last)
    features.requires_grad_()
    strides = []
    intermediate = features * 1.0
    intermediate.register_hook(lambda gradient: strides.append(gradient.stride()))
    pool(intermediate).square().sum().backward()
    assert strides[0][1] == 1
    assert features.grad.dtype == dtype


def test_gradcheck():
    features = make_features(1, 2, 5, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda leaf: partition_pool(leaf, 3), features)
    assert torch.autograd.gradcheck(global_average_pool, features)


def test_deterministic_algorithms_suffice(deterministic_algorithms):
    features = make_features(1, 2, 5, 2).requires_grad_()
    (partition_pool(features, 3).sum() + global_average_pool(features).sum()).backward()
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("num_stripes", [0, 9])
def test_a_wrong_number_of_stripes_is_named(num_stripes):
    with pytest.raises(ValueError, match=rf"num_stripes is {num_stripes}; expected 1\.\.8, the r"):
        partition_pool(make_features(1, 2, 8, 4), num_stripes)
