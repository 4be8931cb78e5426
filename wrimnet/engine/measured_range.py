"""INPUT.INFRARED_RANGE auto in a training run: measured once, then read from the run's folder."""

from pathlib import Path

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.utils import comm

from wrimnet.config.keys import AUTO
from wrimnet.config.setup import build_measured_cfg, setup_cfg
from wrimnet.data.build import build_dataset
from wrimnet.data.infrared_range import measure_infrared_range
from wrimnet.evaluation.extraction import from_main_process
from wrimnet.run_folder import CONFIG


def setup_infrared_range(cfg: CfgNode, *, resume: bool) -> CfgNode:
    """Returns ``cfg`` with INPUT.MEASURED_RANGE, the same on every process.

    Raises UnreadableImageError, or ValueError: all pixels are equal.
    """
    if cfg.INPUT.INFRARED_RANGE != AUTO or cfg.INPUT.MEASURED_RANGE:
        return cfg
    measured = build_measured_range(cfg, resume) if comm.is_main_process() else None
    return build_measured_cfg(cfg, from_main_process(measured))


def build_measured_range(cfg: CfgNode, resume: bool) -> tuple[float, ...]:
    """Returns the range that the run to be resumed has measured, or measures it."""
    file = Path(cfg.OUTPUT_DIR, CONFIG)
    if resume and file.is_file():
        known = setup_cfg(str(file), options=["MODEL.DEVICE", cfg.MODEL.DEVICE])
        if known.INPUT.MEASURED_RANGE:
            return known.INPUT.MEASURED_RANGE
    return measure_infrared_range(
        build_dataset(cfg).train,
        num_threads=cfg.DATALOADER.NUM_WORKERS,
        skip_bad=cfg.DATALOADER.ON_BAD_IMAGE == "skip",
    )
