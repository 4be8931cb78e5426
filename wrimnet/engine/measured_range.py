"""INPUT.INFRARED_RANGE auto in a training run: measured once, then read from the checkpoint."""

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.utils import comm

from wrimnet.config.keys import AUTO
from wrimnet.config.setup import RANGE_KEY, build_measured_cfg
from wrimnet.data.datasets.base import CrossModalityDataset
from wrimnet.data.infrared_range import measure_infrared_range
from wrimnet.engine.checkpointing import Checkpoint
from wrimnet.evaluation.extraction import from_main_process
from wrimnet.modeling.weights import NETWORK


def setup_infrared_range(
    cfg: CfgNode, dataset: CrossModalityDataset, checkpoint: Checkpoint | None
) -> CfgNode:
    """Returns ``cfg`` with INPUT.MEASURED_RANGE, the same on every process.

    A run that goes on has it in its checkpoint.

    Raises UnreadableImageError, or ValueError: all pixels are equal.
    """
    if cfg.INPUT.INFRARED_RANGE != AUTO or cfg.INPUT.MEASURED_RANGE:
        return cfg
    if checkpoint is not None:
        return build_measured_cfg(cfg, checkpoint.state[NETWORK].get(RANGE_KEY, ()))
    measured = build_measured_range(cfg, dataset) if comm.is_main_process() else None
    return build_measured_cfg(cfg, from_main_process(measured))


def build_measured_range(cfg: CfgNode, dataset: CrossModalityDataset) -> tuple[float, ...]:
    """Measures the training images."""
    return measure_infrared_range(
        dataset.train,
        num_threads=cfg.DATALOADER.NUM_WORKERS,
        skip_bad=cfg.DATALOADER.ON_BAD_IMAGE == "skip",
    )
