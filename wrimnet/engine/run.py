"""One run from a checked configuration: training with evaluation, or evaluation alone."""

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from fastreid.engine import default_setup
from fastreid.utils import comm
from torch import nn

from wrimnet.engine.acceleration import setup_pytorch
from wrimnet.engine.check_run import check_protocols, check_run, check_writable
from wrimnet.engine.checkpointing import CheckpointStore
from wrimnet.engine.distributed import main_process_first, was_restarted
from wrimnet.engine.random_state import seed_everything
from wrimnet.engine.signals import StopRequest
from wrimnet.engine.trainer import WRIMTrainer
from wrimnet.engine.weights import load_weights, read_checkpoint
from wrimnet.evaluation.expected import check_expected
from wrimnet.evaluation.results import EvaluationReport, read_metrics_of_results

_logger = logging.getLogger("fastreid.wrimnet.run")


def train(cfg: CfgNode, args: argparse.Namespace) -> int:
    """Trains, evaluates and writes the results.

    Args:
        cfg: checked configuration.
        args: has ``resume``, which torchrun's restart after a failure implies.

    Returns:
        0, or 1 if the results are not those of TEST.EXPECTED_RESULTS.

    Raises:
        SystemExit: code 75 after SIGTERM or SIGINT, see :mod:`wrimnet.engine.signals`.
    """
    resume = was_restarted() or args.resume
    with main_process_first():
        if comm.is_main_process():
            check_run(cfg, resume=resume)
    with StopRequest(comm.get_world_size()) as request:
        setup_run(cfg, args)
        trainer = build_trainer(cfg, resume=resume, request=request)
        trainer.resume_or_load(resume)
        report = trainer.train()
        if report is None:
            _logger.info("nothing left to train")
            return check_metrics(cfg, read_metrics_of_results(build_output_dir(cfg)))
        return check_results(cfg, report)


def evaluate(cfg: CfgNode, args: argparse.Namespace) -> int:
    """Evaluates MODEL.WEIGHTS; returns as :func:`train`."""
    check_protocols(cfg)
    check_weights(cfg)
    if comm.is_main_process():
        check_writable(build_output_dir(cfg))
    setup_run(cfg, args)
    report = WRIMTrainer.test(cfg, *build_trained_model(cfg))
    if comm.is_main_process():
        report.write(build_output_dir(cfg))
    return check_results(cfg, report)


def build_output_dir(cfg: CfgNode) -> Path:
    """Returns the folder of the run; nothing is made."""
    return Path(cfg.OUTPUT_DIR)


def build_trainer(cfg: CfgNode, *, resume: bool, request: StopRequest | None = None) -> WRIMTrainer:
    """Builds the trainer, without ImageNet weights where a checkpoint replaces them."""
    has_weights = cfg.MODEL.WEIGHTS or (resume and CheckpointStore(cfg.OUTPUT_DIR).has_checkpoint())
    return WRIMTrainer(build_without_pretrained(cfg) if has_weights else cfg, request)


def build_trained_model(cfg: CfgNode) -> tuple[nn.Module, str]:
    """Builds the model with MODEL.WEIGHTS in it; returns it and the path of the weights."""
    model = WRIMTrainer.build_model(build_without_pretrained(cfg))
    load_weights(model, cfg.MODEL.WEIGHTS, for_evaluation=True)
    return model, cfg.MODEL.WEIGHTS


def setup_run(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Opens the log, dumps the configuration, seeds the generators, sets PyTorch's switches."""
    if comm.is_main_process():
        default_setup(cfg, args)
    else:
        setup_log_of_rank(comm.get_rank())
    setup_data_log()
    seed_everything(cfg.SEED)
    setup_pytorch(cfg)
    reason = "" if torch.cuda.is_available() else " (no CUDA device found)"
    _logger.info("device %s%s, precision %s", cfg.MODEL.DEVICE, reason, cfg.SOLVER.PRECISION)


def setup_log_of_rank(rank: int) -> None:
    """Sends warnings and errors of a process that is not the main one to stderr."""
    log = logging.getLogger("fastreid")
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter(f"[rank {rank}] %(name)s %(levelname)s: %(message)s"))
    log.addHandler(handler)
    log.propagate = False


def setup_data_log() -> None:
    """Lets the data layer, which knows no FastReID, write to the log that FastReID opened."""
    data_log = logging.getLogger("wrimnet")
    data_log.handlers = logging.getLogger("fastreid").handlers
    data_log.setLevel(logging.INFO)


def check_weights(cfg: CfgNode) -> None:
    """Refuses an evaluation without weights, or with weights that would leak.

    Raises:
        ValueError: MODEL.WEIGHTS is empty, no checkpoint, or of another RegDB split.
        FileNotFoundError: no such file.
    """
    if not cfg.MODEL.WEIGHTS:
        raise ValueError("--eval-only needs MODEL.WEIGHTS FILE on the command line or in the YAML")
    if not Path(cfg.MODEL.WEIGHTS).is_file():
        raise FileNotFoundError(f"MODEL.WEIGHTS = {cfg.MODEL.WEIGHTS!r} does not exist")
    check_trained_on(cfg, read_checkpoint(cfg.MODEL.WEIGHTS).get("trained_on"))


def check_trained_on(cfg: CfgNode, trained_on: dict | None) -> None:
    """Refuses to test a RegDB model on another split than its own: its identities would leak."""
    if not trained_on or cfg.DATASETS.NAMES[0] != "RegDB" or trained_on["dataset"] != "RegDB":
        return
    if trained_on["regdb_trial"] != cfg.DATASETS.REGDB_TRIAL:
        raise ValueError(
            f"the weights were trained on RegDB split {trained_on['regdb_trial']}; testing them on "
            f"split {cfg.DATASETS.REGDB_TRIAL} would leak training identities. Set "
            f"DATASETS.REGDB_TRIAL {trained_on['regdb_trial']}"
        )


def build_without_pretrained(cfg: CfgNode) -> CfgNode:
    """Returns a copy that does not load ImageNet weights, for a model that gets its own."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.BACKBONE.PRETRAIN = False
    cfg.freeze()
    return cfg


def check_results(cfg: CfgNode, report: EvaluationReport) -> int:
    """Logs the results; returns 1 if they are not those of TEST.EXPECTED_RESULTS, else 0."""
    for line in report.lines():
        _logger.info(line)
    _logger.info("results\n%s", report.markdown())
    return check_metrics(cfg, report.metrics)


def check_metrics(cfg: CfgNode, metrics: Mapping[str, Mapping[str, float]]) -> int:
    """Returns 1 if mean metrics per protocol are not TEST.EXPECTED_RESULTS, else 0."""
    failures = check_expected(metrics, cfg.TEST.EXPECTED_RESULTS)
    for failure in failures:
        _logger.error(failure)
    return 1 if failures else 0
