"""The ways from files to batches that the data benchmark compares."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401  before the first import of fastreid

import numpy as np
import torch
from fastreid.config import get_cfg
from fastreid.data.common import CommDataset
from fastreid.data.transforms import build_transforms
from PIL import Image

from wrimnet.data.augmentation import AugmentationSettings, BatchAugmentation
from wrimnet.data.images import ImageItem
from wrimnet.data.loader import TrainLoader, TrainSet
from wrimnet.data.randomness import generator
from wrimnet.data.reading import ReadingWatch
from wrimnet.data.sampler import CrossModalitySampler
from wrimnet.data.sources import ImageSource

BATCH, NUM_INSTANCE = 128, 8
IMAGES_PER_IDENTITY = 32  # 16 of each modality
READING = {"height": 384, "width": 144, "interpolation": "bicubic"}
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SETTINGS = AugmentationSettings(
    scales=(1.0, 0.875, 0.75),
    flip_prob=0.5,
    erase_prob=0.5,
    erase_area=(0.02, 0.4),
    erase_aspect=(0.3, 3.3),
    grayscale_prob=0.5,
)


def draw_train_set(folder: Path, num_images: int) -> TrainSet:
    """Writes JPEG files of 300 x 120 pixels and about 15 kB: smooth colours with sensor noise."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number in range(num_images):
        path = folder / f"{number}.jpg"
        if not path.is_file():
            _draw(generator(0, "benchmark images", number)).save(path, quality=90)
        pid, place = divmod(number, IMAGES_PER_IDENTITY)
        items.append(ImageItem(str(path), pid, 1, place % 2, path.name))
    return TrainSet(items)


def _draw(rng: np.random.Generator) -> Image.Image:
    coarse = Image.fromarray(rng.integers(0, 256, (38, 15, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((120, 300), Image.Resampling.BICUBIC), dtype=np.float32)
    noisy = smooth + rng.normal(0.0, 6.0, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def build_fastreid_path(items: Sequence[ImageItem], count: int) -> Callable[[], None]:
    """FastReID's dataset and transforms: resize, pad, crop, flip, to tensor, erase."""
    cfg = get_cfg()
    cfg.INPUT.SIZE_TRAIN = [READING["height"], READING["width"]]
    cfg.INPUT.FLIP.ENABLED = cfg.INPUT.PADDING.ENABLED = cfg.INPUT.REA.ENABLED = True
    dataset = CommDataset(items, build_transforms(cfg))

    def run() -> None:
        for index in range(count):
            dataset[index]

    return run


def classic_path(
    classic: Callable[..., Any], items: Sequence[ImageItem], count: int
) -> Callable[[], None]:
    """This project's augmentation with PIL and numpy, image by image."""
    augmentation = classic(settings=SETTINGS, fill=MEAN, **READING)

    def run() -> None:
        rng = generator(0, "classic", 0)
        for item in items[:count]:
            augmentation(item.path, item.modality, rng)

    return run


def uint8_batches(source: ImageSource, count: int, num_images: int) -> Callable[[], None]:
    """Batches of randomly chosen images in host memory."""

    def run() -> None:
        for iteration in range(count // BATCH):
            source.read(_some(iteration, num_images))

    return run


def augmented_on_cpu(source: ImageSource, count: int, train_set: TrainSet) -> Callable[[], None]:
    """Batches read, augmented and normalised on the CPU, into memory that is used again."""
    augmentation = BatchAugmentation(settings=SETTINGS, fill=MEAN, seed=0)
    scale = 1.0 / torch.tensor(STD).repeat(READING["width"])  # (W * 3): whole lines, vectorised
    shift = -torch.tensor(MEAN).repeat(READING["width"]) * scale
    out = torch.empty(BATCH, 3, READING["height"], READING["width"])
    out = out.contiguous(memory_format=torch.channels_last)

    def run() -> None:
        for iteration in range(count // BATCH):
            indices = _some(iteration, len(train_set))
            modality = torch.from_numpy(train_set.modality[indices])
            images = augmentation(source.read(indices), modality, iteration, out=out)
            lines = images.permute(0, 2, 3, 1).flatten(2)  # (B, H, W * 3), the same memory
            torch.addcmul(shift, lines, scale, out=lines)

    return run


def delivery(
    train_set: TrainSet,
    source: ImageSource,
    watch: ReadingWatch,
    device: torch.device,
    num_batches: int,
    augmented: bool,
) -> Callable[[], None]:
    """Batches as training gets them: through the background thread, on the device."""
    sampler = CrossModalitySampler(
        pids=train_set.pids,
        modalities=train_set.modality,
        num_pids=BATCH // (2 * NUM_INSTANCE),
        num_instances=NUM_INSTANCE,
        seed=0,
    )
    loader = TrainLoader(
        dataset=train_set,
        sampler=sampler,
        source=source,
        watch=watch,
        device=device,
        prefetch=3,
        timeout=60.0,
    )
    augmentation = BatchAugmentation(settings=SETTINGS, fill=MEAN, seed=0)

    def run() -> None:
        batches = loader.iterate()
        for _ in range(num_batches):
            batch = next(batches)
            if augmented:
                augmentation(batch["images"], batch["modality"], batch["iteration"])
        batches.close()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def _some(iteration: int, num_images: int) -> np.ndarray:
    return generator(0, "benchmark batches", iteration).permutation(num_images)[:BATCH]
