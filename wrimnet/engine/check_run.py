"""Rules beyond the configuration's own keys; one sentence each, before any data is read."""

import os
from pathlib import Path

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.utils import comm

from wrimnet.config import config_hash
from wrimnet.data.build import DATASETS
from wrimnet.engine.checkpointing import BEST, FINAL, CheckpointStore
from wrimnet.evaluation.expected import check_entry
from wrimnet.evaluation.protocols import dataset_protocols

TRACES = ("metrics.json", BEST, FINAL)  # what a run leaves before or without a checkpoint


def check_run(cfg: CfgNode, *, resume: bool) -> None:
    """Raises for the first rule that a training run would break.

    Raises:
        KeyError, ValueError, FileNotFoundError, OSError: see the rules below.
    """
    check_protocols(cfg)
    check_shares(cfg, comm.get_world_size())
    check_output_dir(cfg, resume=resume)
    if not (resume and CheckpointStore(cfg.OUTPUT_DIR).has_checkpoint()):
        check_start(cfg)


def check_shares(cfg: CfgNode, num_processes: int) -> None:
    """Raises ValueError if the identities of a batch, or of its parts, cannot be shared evenly."""
    num_pids = cfg.SOLVER.IMS_PER_BATCH // (2 * cfg.DATALOADER.NUM_INSTANCE)
    parts = cfg.SOLVER.ACCUMULATION_STEPS
    if num_pids % (num_processes * parts):
        raise ValueError(
            f"the P = {num_pids} identities of a batch (SOLVER.IMS_PER_BATCH / (2 x DATALOADER."
            f"NUM_INSTANCE)) cannot be shared evenly by {num_processes} processes in {parts} parts "
            "each (SOLVER.ACCUMULATION_STEPS); start a number of processes that divides P"
        )


def check_protocols(cfg: CfgNode) -> None:
    """Refuses protocols, draws and expected results that are not of the dataset.

    Raises:
        KeyError, ValueError: of the wrong name.
        FileNotFoundError: TEST.PERM_FILE does not exist.
    """
    names = tuple(cfg.DATASETS.NAMES)
    if len(names) != 1 or names[0] not in DATASETS:
        raise ValueError(f"DATASETS.NAMES = {names}: expected exactly one of {', '.join(DATASETS)}")
    protocols = dataset_protocols(names[0], tuple(cfg.TEST.PROTOCOLS))
    official = cfg.TEST.GALLERY_DRAW == "official"
    if official and names[0] != "SYSU_MM01":
        raise ValueError(
            f"TEST.GALLERY_DRAW = 'official' is SYSU-MM01's, the dataset is {names[0]}; use 'agw'"
        )
    if official and cfg.TEST.PERM_FILE and not Path(cfg.TEST.PERM_FILE).is_file():
        raise FileNotFoundError(f"TEST.PERM_FILE = {cfg.TEST.PERM_FILE!r} does not exist")
    run = [protocol.name for protocol in protocols]
    for entry in cfg.TEST.EXPECTED_RESULTS:
        check_entry(entry, run)


def check_start(cfg: CfgNode) -> None:
    """Refuses a start from a file that does not exist.

    Raises:
        FileNotFoundError: MODEL.WEIGHTS or MODEL.BACKBONE.PRETRAIN_PATH does not exist.
    """
    if cfg.MODEL.WEIGHTS:
        name, path = "MODEL.WEIGHTS", cfg.MODEL.WEIGHTS
    elif cfg.MODEL.BACKBONE.PRETRAIN and cfg.MODEL.BACKBONE.PRETRAIN_PATH:
        name, path = "MODEL.BACKBONE.PRETRAIN_PATH", cfg.MODEL.BACKBONE.PRETRAIN_PATH
    else:
        return
    if not Path(path).is_file():
        raise FileNotFoundError(f"{name} = {path!r} does not exist")


def check_output_dir(cfg: CfgNode, *, resume: bool) -> None:
    """Refuses a folder that holds another run, or that cannot be written.

    Raises:
        ValueError: it holds a run and ``resume`` is off, or a run of another configuration.
        OSError: it is no folder or cannot be written.
    """
    folder = Path(cfg.OUTPUT_DIR)
    check_writable(folder)
    store = CheckpointStore(folder)
    traces = [name for name in TRACES if (folder / name).exists()]
    if not resume and (traces or store.has_checkpoint()):
        raise ValueError(
            f"OUTPUT_DIR = {cfg.OUTPUT_DIR!r} holds an earlier run; add --resume to go on with "
            "it, or choose another OUTPUT_DIR"
        )
    if store.has_checkpoint():
        check_same_config(cfg, store.find_newest()[1]["config_hash"])


def check_same_config(cfg: CfgNode, found: str) -> None:
    """Raises ValueError if ``found``, the hash in a checkpoint, is not that of ``cfg``."""
    wanted = config_hash(cfg)
    if found != wanted:
        raise ValueError(
            f"OUTPUT_DIR = {cfg.OUTPUT_DIR!r} holds a run of another configuration ({found}, this "
            f"one is {wanted}); its config.yaml says which. Choose another OUTPUT_DIR"
        )


def check_writable(folder: Path) -> None:
    """Makes ``folder``; raises OSError if that fails or nothing can be written to it."""
    probe = folder / f".probe.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"1")
    except OSError as error:
        raise OSError(
            f"OUTPUT_DIR = {str(folder)!r} cannot be written ({error.strerror}); make room or "
            "choose another OUTPUT_DIR"
        ) from error
    probe.unlink()
