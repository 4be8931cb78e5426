"""Negative dot products that are equal where embeddings are equal, in every bit.

A matrix product rounds an entry by its place in the matrix, so equal embeddings get unequal
distances, and others with another memory bound, order of files or number of threads. Here rows are
first reduced to distinct ones, in an order that depends on their content alone. Each pair of those
is computed once, in tiles of fixed shape, each tile by one thread; everything else is looked up.
"""

import hashlib
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

DistanceRows = Callable[[slice], Tensor]
TILE_ROWS, _TILE_COLUMNS = 256, 1024


def distinct_rows(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the distinct rows of embeddings (N, D) of finite numbers; -0 equals 0.

    Returns:
        A row of each kind, (U,), in an order that depends on the content of the rows alone, and
        the place of every row's kind among them, (N,).
    """
    _, heads, counts = np.unique(embeddings[:, 0] + 0.0, return_inverse=True, return_counts=True)
    names = [f"{head:09d}" for head in heads]
    for row in np.flatnonzero(counts[heads] > 1):
        names[row] += hashlib.sha256((embeddings[row] + 0.0).tobytes()).hexdigest()
    _, first, place = np.unique(names, return_index=True, return_inverse=True)
    return first, place


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Divides rows (N, D) by their L2 norms in float64; a zero row stays zero.

    Each row is first divided by a power of two, which is exact: squares of numbers beyond 1e154
    would be infinite, those below 1e-162 zero.
    """
    wide = rows.astype(np.float64)
    _, exponent = np.frexp(np.abs(wide).max(axis=1, keepdims=True, initial=0.0))
    wide = np.ldexp(wide, -exponent)
    norms = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    return wide / np.where(norms > 0, norms, 1.0)


def negative_products(left: Tensor, right: Tensor) -> Tensor:
    """Computes -<a_i, b_j> (M, N) in float64 of distinct rows in their order, tile by tile.

    Rows may be computed block by block where the blocks begin at multiples of TILE_ROWS.
    """
    products = torch.empty(len(left), len(right), dtype=torch.float64, device=left.device)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # of each matrix product; the tiles are shared out instead
    try:
        with ThreadPoolExecutor(num_threads if left.device.type == "cpu" else 1) as pool:
            for start in range(0, len(right), _TILE_COLUMNS):
                columns = slice(start, start + _TILE_COLUMNS)
                wide = right[columns].double().T

                def fill(row: int, columns: slice = columns, wide: Tensor = wide) -> None:
                    rows = slice(row, row + TILE_ROWS)
                    products[rows, columns] = -left[rows].double() @ wide

                list(pool.map(fill, range(0, len(left), TILE_ROWS)))
    finally:
        torch.set_num_threads(num_threads)
    return products


def exact_distances(queries: Tensor, gallery: Tensor) -> Tensor:
    """Computes the negative dot products (Q, G) of any rows, in memory."""
    (first, row), (second, column) = (distinct_rows(of.numpy()) for of in (queries, gallery))
    return negative_products(queries[first], gallery[second])[row][:, column]


def all_to_all(embeddings: Tensor, memory_gb: float) -> DistanceRows:
    """Returns a function that gives rows of the negative dot products (N, N) of embeddings (N, D).

    They are held on the device, or, where they exceed ``memory_gb``, in a temporary file.
    """
    first, place = (torch.from_numpy(rows) for rows in distinct_rows(embeddings.cpu().numpy()))
    distinct, place = embeddings[first.to(embeddings.device)], place.to(embeddings.device)
    size = (len(first), len(first))
    if 8 * len(first) ** 2 <= memory_gb * 1e9:
        held = negative_products(distinct, distinct)
    else:
        with tempfile.TemporaryFile() as file:
            held = torch.from_numpy(np.memmap(file, np.float64, "w+", shape=size))
        for start in range(0, len(first), TILE_ROWS):
            rows = slice(start, start + TILE_ROWS)
            held[rows] = negative_products(distinct[rows], distinct).cpu()
    return lambda block: held[place[block].to(held.device)].to(place.device)[:, place]
