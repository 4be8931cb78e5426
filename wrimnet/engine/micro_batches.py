"""A batch in parts, each a complete batch of both modalities over fewer identities."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_SHARED_OUT = ("images", "targets", "labels", "modality")


def micro_batches(batch: dict[str, Any], num_parts: int) -> Iterator[dict[str, Any]]:
    """Yields the parts of a batch, for gradients that are accumulated over them.

    A batch of P identities with K images each and per modality becomes ``num_parts`` batches of
    P / num_parts identities, visible images first. A loss that compares images sees only those of
    its own part: fewer negatives, and easier hardest ones, than in the whole batch.

    Args:
        batch: what the model trains on; both halves hold the same identities in the same order.
        num_parts: divides the number of identities.
    """
    if num_parts == 1:
        yield batch
        return
    for part in range(num_parts):
        yield {
            name: _part_of(batch[name], part, num_parts) for name in _SHARED_OUT if name in batch
        }


def _part_of(values: Tensor, part: int, num_parts: int) -> Tensor:
    """(2 x P x K, ...) -> (2 x P / num_parts x K, ...), in the memory format of the values."""
    return torch.cat([half.chunk(num_parts)[part] for half in values.chunk(2)])
