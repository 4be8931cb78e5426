"""Embeddings of a list of images, each image read and embedded once, by one process or several."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import Any

import wrimnet.compat  # noqa: F401

import numpy as np
import torch
import torch.distributed as dist
from fastreid.config import CfgNode
from fastreid.utils import comm
from torch import Tensor
from tqdm import tqdm

from wrimnet.config.setup import build_infrared_range
from wrimnet.data.images import as_rgb, resize_rgb
from wrimnet.data.reading import ReadingWatch, read_ahead
from wrimnet.data.sources import host_buffer
from wrimnet.modality import INFRARED
from wrimnet.modeling.embedding import embed_parts, join_parts

BATCHES_AHEAD = 2
_JOINED_ROWS = 4096  # joined together, in float64
Parts = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """How images are read, brought to the input size and embedded."""

    height: int  # of the input, pixels
    width: int
    interpolation: str  # PIL filter of the resize
    batch_size: int  # images embedded together
    num_workers: int  # threads that read and resize
    timeout: float = 30.0  # seconds until a read that does not end is an error
    flip: bool = False  # average each part with that of the mirrored image
    device: str = "cpu"  # where the model is
    precision: str = "fp32"  # or "bf16", of the forward pass
    infrared_range: tuple[float, ...] = ()  # (low, high) of infrared pixels of more than 8 bits

    def read(self, image: Any, modality: int) -> np.ndarray:
        """Reads a path, a PIL image or an array and resizes it, (H, W, 3) uint8."""
        rgb = as_rgb(image, self.range_of(modality))
        return resize_rgb(rgb, self.height, self.width, self.interpolation)

    def range_of(self, modality: int) -> tuple[float, ...]:
        """Returns the range of a modality's pixels of more than 8 bits, () for none."""
        return self.infrared_range if modality == INFRARED else ()

    def __call__(self, model: Any, images: Sequence[Any], modalities: Sequence[int]) -> Parts:
        """Embeds N paths, PIL images or arrays with ``model.embed_parts``, a modality at a time.

        For each part a float32 array (N, D_part), rows in the order of the images.

        Raises:
            ValueError: no image, an unreadable one, or embeddings with NaN.
            TimeoutError: a file is in reading for longer than the timeout.
        """
        if len(images) == 0:
            raise ValueError("no image to embed: the list is empty")
        parts: Parts = {}
        training = [module for module in model.modules() if module.training]
        model.eval()
        try:
            with tqdm(
                desc="embedding", total=len(images), unit=" images", disable=None, leave=False
            ) as bar:
                for rows, batch in self._read_batches(images, modalities):
                    embedded = self._embed(model, batch, modalities[rows[0]])
                    _store(parts, embedded, rows, images)
                    bar.update(len(rows))
        finally:
            for module in training:  # one that is frozen stays so
                module.training = True
        return parts

    def check_images(self, images: Sequence[Any], modalities: Sequence[int]) -> None:
        """Reads all images and drops them; raises for the first that cannot be read."""
        for _ in self._read_batches(images, modalities):
            pass

    @torch.inference_mode()
    def _embed(self, model: Any, batch: Tensor, modality: int) -> dict[str, Tensor]:
        on_device = batch.to(self.device, non_blocking=True)
        options: dict[str, Any] = {"flip": self.flip, "precision": self.precision}
        return {n: p.cpu() for n, p in embed_parts(model, on_device, modality, **options).items()}

    def _read_batches(
        self, images: Sequence[Any], modalities: Sequence[int]
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Yields rows and images (B, H, W, 3) uint8 of each batch, read a little ahead."""
        watch, pool = ReadingWatch(), ThreadPool(max(self.num_workers, 1))

        def read_into(row: int, place: np.ndarray) -> None:
            place[...] = self.read(images[row], modalities[row])

        def watched(row: int, place: np.ndarray) -> None:
            watch.reading(_name(images[row], row), partial(read_into, row, place))

        def load(rows: list[int]) -> tuple[list[int], Tensor]:
            shape = (len(rows), self.height, self.width, 3)
            batch = host_buffer(shape, torch.device(self.device).type == "cuda")
            pool.starmap(watched, zip(rows, batch.numpy(), strict=True), chunksize=1)
            return rows, batch

        batches = batch_rows(modalities, self.batch_size)
        ahead = BATCHES_AHEAD
        try:
            yield from read_ahead(load, batches, ahead=ahead, watch=watch, timeout=self.timeout)
        finally:
            pool.terminate()


def build_extraction(cfg: CfgNode) -> Extraction:
    """Builds the extraction of INPUT.SIZE_TEST, TEST.FLIP and SOLVER.PRECISION."""
    height, width = cfg.INPUT.SIZE_TEST
    return Extraction(
        height=height,
        width=width,
        interpolation=cfg.INPUT.INTERPOLATION,
        batch_size=cfg.TEST.IMS_PER_BATCH,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        timeout=cfg.DATALOADER.TIMEOUT,
        flip=cfg.TEST.FLIP.ENABLED,
        device=cfg.MODEL.DEVICE,
        precision=cfg.SOLVER.PRECISION,
        infrared_range=build_infrared_range(cfg),
    )


def batch_rows(modalities: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Yields the rows of each batch: one modality each, all full but a modality's last."""
    for modality in sorted(set(modalities)):
        rows = [row for row, kind in enumerate(modalities) if kind == modality]
        for start in range(0, len(rows), batch_size):
            yield rows[start : start + batch_size]


def join_arrays(parts: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Joins groups (N, D_part) to unit embeddings (N, D) float32; refuses an empty row."""
    tensors = {name: torch.from_numpy(np.asarray(parts[name], np.float32)) for name in names}
    count = len(tensors[names[0]])
    slices = [slice(start, start + _JOINED_ROWS) for start in range(0, count, _JOINED_ROWS)]
    joined = torch.cat([join_parts({n: t[rows] for n, t in tensors.items()}, names)
                        for rows in slices])  # fmt: skip
    lost = ~joined.isfinite().all(dim=1)
    if lost.any():
        raise ValueError(
            f"the embedding {'+'.join(names)} of row {int(lost.nonzero()[0])} has L2 norm 0; "
            f"{int(lost.sum())} of {count} cannot be L2-normalized"
        )
    return joined.numpy()


def extract_by_all(
    extract: Callable[[Any, Sequence[Any], Sequence[int]], Parts],
    model: Any,
    images: Sequence[Any],
    modalities: Sequence[int],
    batch_size: int,
) -> Parts:
    """Embeds images, whole batches dealt out to the processes in turn.

    Every batch holds the images that it would hold with one process, so the embeddings are the
    same to the last bit; every image is embedded once. The main process gets each part (N, D_part),
    rows in the order of the images; the others the rows of their own.
    """
    if comm.get_world_size() == 1:
        return extract(model, images, modalities)
    rows = rows_of_process(modalities, batch_size, comm.get_rank(), comm.get_world_size())
    chosen = ([of[row] for row in rows] for of in (images, modalities))
    parts_of_rows = extract(model, *chosen) if rows else {}
    shares: list[Any] = [None] * comm.get_world_size()
    dist.gather_object((rows, parts_of_rows), shares if comm.is_main_process() else None, dst=0)
    if not comm.is_main_process():
        return parts_of_rows
    whole: Parts = {}
    for rows, parts in shares:
        for name, part in parts.items():
            if name not in whole:
                whole[name] = np.empty((len(images), part.shape[1]), part.dtype)
            whole[name][rows] = part
    return whole


def rows_of_process(
    modalities: Sequence[int], batch_size: int, rank: int, world_size: int
) -> list[int]:
    """Returns the rows of every ``world_size``-th batch, beginning with the ``rank``-th.

    Only the last batch of a modality is not full, so the rows fall into the same batches again.
    """
    batches = list(batch_rows(modalities, batch_size))
    return [row for batch in batches[rank::world_size] for row in batch]


def from_main_process(value: Any) -> Any:
    """Returns the main process's value to all processes."""
    if comm.get_world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def _store(
    parts: Parts, embedded: Mapping[str, Tensor], rows: list[int], images: Sequence[Any]
) -> None:
    for name, part in embedded.items():
        if not part.isfinite().all():
            bad = rows[int((~part.isfinite()).any(dim=1).nonzero()[0])]
            raise ValueError(
                f"the {name} embedding of {_name(images[bad], bad)} holds NaN or infinity; "
                "check the weights, or evaluate in fp32"
            )
        if name not in parts:
            parts[name] = np.empty((len(images), part.shape[1]), dtype=np.float32)
        parts[name][rows] = part.numpy()


def _name(image: Any, row: int) -> str:
    return str(image) if isinstance(image, str) else f"image {row}"
