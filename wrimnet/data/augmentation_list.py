"""The augmentations that INPUT.AUGMENTATION names, one after another.

One of your own is a class ``Name(cfg)`` in AUGMENTATION_REGISTRY, whose instances are called with
``(images, modality, rng)``: float images (B, 3, H, W), 0 to 255, on the device; modality (B,), on
the CPU; and a generator. They return the images. One that changes the number of images, or needs
all of the batch, has ``augment(batch)`` instead, which returns the batch.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import wrimnet.compat  # noqa: F401

import numpy as np
import torch
from fastreid.config import CfgNode
from fastreid.utils import comm
from torch import Tensor

from wrimnet.data.augmentation import rows_of_rank
from wrimnet.data.randomness import generator
from wrimnet.data.window_resize import to_device
from wrimnet.registries import (
    AUGMENTATION_REGISTRY,
    describe_place,
    find_registered,
    names_of,
)


class RowGenerator:
    """numpy's Generator for the rows that a process has of a batch.

    A draw whose ``size`` begins with the number of these rows is made for the whole batch, and
    these rows of it are returned; so the draws do not depend on the number of processes. Any other
    draw is the same on all of them.
    """

    def __init__(self, rng: np.random.Generator, rows: np.ndarray, count: int) -> None:
        self._rng, self._rows, self._count = rng, rows, count

    def __getattr__(self, name: str) -> Any:
        draw = getattr(self._rng, name)
        signature = inspect.signature(draw)
        if "size" not in signature.parameters:
            return draw

        def draw_rows(*arguments: Any, **options: Any) -> Any:
            bound = signature.bind(*arguments, **options)
            size = bound.arguments.get("size")
            shape = (size,) if isinstance(size, (int, np.integer)) else tuple(size or ())
            if shape[:1] != (len(self._rows),):
                return draw(*arguments, **options)
            bound.arguments["size"] = (self._count, *shape[1:])
            return draw(*bound.args, **bound.kwargs)[self._rows]

        return draw_rows


def as_column(values: Any, images: Tensor) -> Tensor:
    """Returns one number per image, (B,), as (B, 1, 1, 1) beside the images."""
    column = np.asarray(values, dtype=np.float32).reshape(-1, 1, 1, 1)
    return to_device(column, images.device)


class ImageAugmentation:
    """Applies a custom augmentation to the images of a batch.

    Raises:
        ValueError: it returns something else than images of the same shape.
    """

    def __init__(
        self,
        function: Callable[[Tensor, Tensor, Any], Tensor],
        *,
        stream: str,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.function, self.stream, self.seed = function, stream, seed
        self.rank, self.world_size = rank, world_size

    def augment(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Returns the batch with float images (B, 3, H, W)."""
        images, modality = batch["images"], batch["modality"]
        if images.dtype == torch.uint8:
            images = images.permute(0, 3, 1, 2).float()
        count = len(modality) * self.world_size
        rows = rows_of_rank(count, self.rank, self.world_size)
        rng = RowGenerator(generator(self.seed, self.stream, batch["iteration"]), rows, count)
        result = self.function(images, modality, rng)
        if not torch.is_tensor(result) or result.shape != images.shape:
            returned = tuple(result.shape) if torch.is_tensor(result) else type(result).__name__
            raise ValueError(
                f"INPUT.AUGMENTATION: {describe_place(self.function)} returned {returned}; "
                f"expected a tensor {tuple(images.shape)}, the shape of the images it was given"
            )
        return {**batch, "images": result}


class AugmentationList:
    """Augmentations of a batch, one after another."""

    def __init__(self, steps: Sequence[Any]) -> None:
        self.steps = list(steps)

    def augment(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Returns the batch to train on."""
        for step in self.steps:
            batch = step.augment(batch)
        return batch


def build_augmentation(cfg: CfgNode) -> Any:
    """Builds what INPUT.AUGMENTATION names; it has ``augment(batch)``."""
    steps: list[Any] = []
    names = names_of(cfg.INPUT.AUGMENTATION)
    for position, name in enumerate(names):
        built = find_registered(AUGMENTATION_REGISTRY, name, "INPUT.AUGMENTATION")(cfg)
        if not hasattr(built, "augment"):
            built = ImageAugmentation(
                built,
                stream=f"augmentation {name} {names[:position].count(name)}",
                seed=cfg.SEED,
                rank=comm.get_rank(),
                world_size=comm.get_world_size(),
            )
        steps.append(built)
    return steps[0] if len(steps) == 1 else AugmentationList(steps)
