"""Average pooling of a feature map, as a whole and in horizontal stripes."""

import torch
from torch import Tensor


def global_average_pool(features: Tensor) -> Tensor:
    """Averages over all positions.

    Args:
        features: (B, C, H, W).

    Returns:
        (B, C), float32 at least.
    """
    return _average(features.permute(0, 2, 3, 1))


def partition_pool(features: Tensor, num_stripes: int) -> Tensor:
    """Averages over the positions of each horizontal stripe.

    The rows are split as ``numpy.array_split`` does, the first stripes one row higher where the
    height is no multiple: 16 rows in 6 stripes are 3, 3, 3, 3, 2, 2. Stripes do not overlap.

    Args:
        features: (B, C, H, W).
        num_stripes: S, 1..H.

    Returns:
        (B, S, C), the top stripe first, float32 at least.

    Raises:
        ValueError: num_stripes is not in 1..H.
    """
    num_rows = features.shape[2]
    if not 1 <= num_stripes <= num_rows:
        raise ValueError(
            f"num_stripes is {num_stripes}; expected 1..{num_rows}, the rows of the feature map"
        )
    height, num_higher = divmod(num_rows, num_stripes)
    heights = [height + 1] * num_higher + [height] * (num_stripes - num_higher)
    stripes = features.permute(0, 2, 3, 1).split(heights, dim=1)  # S of (B, h, W, C)
    return torch.stack([_average(stripe) for stripe in stripes], dim=1)


def _average(rows: Tensor) -> Tensor:
    """(B, h, W, C) -> (B, C).

    With the channels last the gradient is laid out channels-last, too. The sum is divided, not the
    feature map, so that the backward pass writes the large gradient once, in the number format of
    the feature map.
    """
    dtype = torch.promote_types(rows.dtype, torch.float32)
    return rows.sum((1, 2), dtype=dtype) / (rows.shape[1] * rows.shape[2])
