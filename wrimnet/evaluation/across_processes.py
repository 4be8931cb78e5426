"""An evaluation by several processes: each embeds some of the batches, the main one scores."""

from collections.abc import Callable, Sequence
from typing import Any

import wrimnet.compat  # noqa: F401

import numpy as np
import torch.distributed as dist
from fastreid.utils import comm

from wrimnet.data.items import ImageItem
from wrimnet.evaluation.extraction import batch_rows

Parts = dict[str, np.ndarray]


def extract_by_all(
    extract: Callable[[Any, Sequence[ImageItem]], Parts],
    model: Any,
    items: Sequence[ImageItem],
    *,
    batch_size: int,
) -> Parts:
    """Embeds images, whole batches dealt out to the processes in turn.

    Every batch holds the images that it would hold with one process, so the embeddings are the
    same to the last bit; every image is embedded once.

    Args:
        extract: embeds a list of images in batches of ``batch_size``.
        model: passed to it.
        items: N images, the same list on every process.
        batch_size: images embedded together.

    Returns:
        For each part (N, D_part) on the main process, rows in the order of ``items``; on the others
        the rows of their own.
    """
    if comm.get_world_size() == 1:
        return extract(model, items)
    rows = rows_of_process(items, batch_size, comm.get_rank(), comm.get_world_size())
    own = extract(model, [items[row] for row in rows]) if rows else {}
    shares: list[Any] = [None] * comm.get_world_size()
    dist.gather_object((rows, own), shares if comm.is_main_process() else None, dst=0)
    return _joined(shares, len(items)) if comm.is_main_process() else own


def rows_of_process(
    items: Sequence[ImageItem], batch_size: int, rank: int, world_size: int
) -> list[int]:
    """Returns the rows of every ``world_size``-th batch, beginning with the ``rank``-th.

    Only the last batch of a modality is not full, so the rows fall into the same batches again.
    """
    batches = list(batch_rows(items, batch_size))
    return [row for batch in batches[rank::world_size] for row in batch]


def from_main_process(value: Any) -> Any:
    """Returns the main process's value to all processes."""
    if comm.get_world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def _joined(shares: Sequence[tuple[list[int], Parts]], num_items: int) -> Parts:
    whole: Parts = {}
    for rows, parts in shares:
        for name, part in parts.items():
            if name not in whole:
                whole[name] = np.empty((num_items, part.shape[1]), part.dtype)
            whole[name][rows] = part
    return whole
