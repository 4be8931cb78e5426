"""From a configuration to the training batches."""

import wrimnet.compat  # noqa: F401  before the first import of fastreid

import torch
from fastreid.config import CfgNode
from fastreid.utils import comm

from wrimnet.data.build import build_dataset
from wrimnet.data.loader import TrainLoader
from wrimnet.data.reading import ImageReader, ReadingWatch
from wrimnet.data.sampler import CrossModalitySampler
from wrimnet.data.sources import DecodingSource, ImageSource
from wrimnet.data.train_set import TrainSet


def build_train_loader(cfg: CfgNode) -> TrainLoader:
    """Builds the batches of DATASETS, DATALOADER, INPUT and SOLVER.IMS_PER_BATCH.

    Raises:
        ValueError: If the batch is not 2PK, the processes do not share it evenly, or the dataset
            has too few identities.
    """
    dataset = build_dataset(cfg)
    train_set = TrainSet(dataset.train)
    sampler = build_train_sampler(cfg, train_set)
    watch = ReadingWatch()
    return TrainLoader(
        dataset=train_set,
        sampler=sampler,
        source=build_train_source(cfg, train_set, dataset.name, dataset.folder, watch),
        watch=watch,
        device=torch.device(cfg.MODEL.DEVICE),
        prefetch=cfg.DATALOADER.PREFETCH,
        timeout=cfg.DATALOADER.TIMEOUT,
    )


def build_train_sampler(cfg: CfgNode, train_set: TrainSet) -> CrossModalitySampler:
    """Builds the sampler of batches of SOLVER.IMS_PER_BATCH = 2 x P x DATALOADER.NUM_INSTANCE."""
    batch, num_instances = cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_INSTANCE
    if num_instances < 1 or batch < 1 or batch % (2 * num_instances):
        raise ValueError(
            f"SOLVER.IMS_PER_BATCH = {batch} is not 2 x P x DATALOADER.NUM_INSTANCE with "
            f"NUM_INSTANCE = {num_instances}; choose a multiple of {2 * max(num_instances, 1)}"
        )
    return CrossModalitySampler(
        pids=train_set.pids,
        modalities=train_set.modality,
        num_pids=batch // (2 * num_instances),
        num_instances=num_instances,
        seed=cfg.SEED,
        rank=comm.get_rank(),
        world_size=comm.get_world_size(),
    )


def build_train_source(
    cfg: CfgNode, train_set: TrainSet, name: str, folder: str, watch: ReadingWatch
) -> ImageSource:
    """Builds the source that DATALOADER.CACHE names."""
    height, width = cfg.INPUT.SIZE_TRAIN
    pin = torch.device(cfg.MODEL.DEVICE).type == "cuda"
    reader = ImageReader(
        train_set.items,
        height=height,
        width=width,
        interpolation=cfg.INPUT.INTERPOLATION,
        on_bad_image=cfg.DATALOADER.ON_BAD_IMAGE,
        watch=watch,
    )
    return DecodingSource(reader, num_threads=cfg.DATALOADER.NUM_WORKERS, pin=pin)
