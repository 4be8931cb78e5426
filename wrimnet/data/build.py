"""From a configuration to the dataset it names and to the training batches."""

import os
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from fastreid.utils import comm

from wrimnet.config import check_batch
from wrimnet.config.setup import build_infrared_range
from wrimnet.config.tree import get_key
from wrimnet.data.cache import open_cache
from wrimnet.data.cache_file import CacheFile, cache_key
from wrimnet.data.datasets.base import CrossModalityDataset
from wrimnet.data.loader import TrainLoader, TrainSet
from wrimnet.data.protocols import dataset_protocols
from wrimnet.data.reading import ImageReader, ReadingWatch
from wrimnet.data.sampler import CrossModalitySampler
from wrimnet.data.sources import DecodingSource, DeviceSource, DiskSource, ImageSource, MemorySource
from wrimnet.registries import SAMPLER_REGISTRY, find_registered, only_dataset


def build_dataset(cfg: CfgNode) -> CrossModalityDataset:
    """Reads the dataset of DATASETS.NAMES from :func:`build_root`; errors of its class."""
    dataset = only_dataset(cfg.DATASETS.NAMES)
    dataset_protocols(dataset, tuple(cfg.TEST.PROTOCOLS))  # a wrong name, before data are read
    number = int(get_key(cfg, dataset.number_key)) if dataset.number_key else 1
    return dataset(root=build_root(cfg), split=cfg.DATASETS.SPLIT, number=number)


def build_root(cfg: CfgNode) -> str:
    """Returns DATASETS.ROOT, else FASTREID_DATASETS of the environment, else "datasets"."""
    return cfg.DATASETS.ROOT or default_root()


def build_dataset_folder(cfg: CfgNode) -> Path:
    """Returns the folder of the dataset that DATASETS.NAMES names; it need not exist."""
    return Path(build_root(cfg), only_dataset(cfg.DATASETS.NAMES).folder_name)


def default_root() -> str:
    """Returns the folder of the datasets where nothing names one."""
    return os.environ.get("FASTREID_DATASETS") or "datasets"


def build_train_loader(cfg: CfgNode, dataset: CrossModalityDataset) -> TrainLoader:
    """Builds the batches of a dataset's training images.

    ValueError if batches are not 2PK, cannot be shared by the processes, or identities lack.
    """
    train_set, watch = TrainSet(dataset.train), ReadingWatch()
    device = torch.device(cfg.MODEL.DEVICE)
    if device.type == "cuda" and device.index is None:  # which the background thread does not know
        device = torch.device("cuda", torch.cuda.current_device())
    return TrainLoader(
        dataset=train_set,
        sampler=build_train_sampler(cfg, train_set),
        source=build_train_source(cfg, dataset, watch, device),
        watch=watch,
        device=device,
        prefetch=cfg.DATALOADER.PREFETCH,
        timeout=cfg.DATALOADER.TIMEOUT,
    )


def build_train_sampler(cfg: CfgNode, train_set: TrainSet) -> CrossModalitySampler:
    """Builds the sampler of batches of SOLVER.IMS_PER_BATCH = 2 x P x DATALOADER.NUM_INSTANCE."""
    check_batch(cfg, comm.get_world_size())
    name, num_instances = cfg.DATALOADER.SAMPLER_TRAIN, cfg.DATALOADER.NUM_INSTANCE
    return CrossModalitySampler(
        draw=find_registered(SAMPLER_REGISTRY, name, "DATALOADER.SAMPLER_TRAIN"),
        pids=train_set.pids,
        modalities=train_set.modality,
        num_pids=cfg.SOLVER.IMS_PER_BATCH // (2 * num_instances),
        num_instances=num_instances,
        seed=cfg.SEED,
        rank=comm.get_rank(),
        world_size=comm.get_world_size(),
    )


def build_train_source(
    cfg: CfgNode, dataset: CrossModalityDataset, watch: ReadingWatch, device: torch.device
) -> ImageSource:
    """Builds the source of DATALOADER.CACHE."""
    pin = device.type == "cuda"
    if cfg.DATALOADER.CACHE == "none":
        reader = ImageReader(dataset.train, watch=watch, **build_reading(cfg))
        return DecodingSource(reader, num_threads=cfg.DATALOADER.NUM_WORKERS, pin=pin)
    cache = build_train_cache(cfg, dataset)
    if cfg.DATALOADER.CACHE == "disk":
        return DiskSource(cache, watch=watch, pin=pin)
    if cfg.DATALOADER.CACHE == "ram":
        return MemorySource(cache, pin=pin)
    return DeviceSource(cache, device=device)


def build_train_cache(cfg: CfgNode, dataset: CrossModalityDataset) -> CacheFile:
    """Opens the cache of the training images, or builds it, in CACHE_DIR or beside the dataset."""
    return open_cache(
        cache_key(dataset.train, dataset=dataset.name, **build_reading(cfg)),
        dataset.train,
        Path(cfg.DATALOADER.CACHE_DIR or Path(dataset.folder).parent / ".cache"),
        num_processes=cfg.DATALOADER.NUM_WORKERS,
        timeout=cfg.DATALOADER.TIMEOUT,
    )


def build_reading(cfg: CfgNode) -> dict[str, Any]:
    """Returns the settings that decide what is read from a file."""
    height, width = cfg.INPUT.SIZE_TRAIN
    return {
        "height": height,
        "width": width,
        "interpolation": cfg.INPUT.INTERPOLATION,
        "on_bad_image": cfg.DATALOADER.ON_BAD_IMAGE,
        "infrared_range": build_infrared_range(cfg),
    }
