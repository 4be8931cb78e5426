"""One run from a checked configuration: training with evaluation, or evaluation alone."""

import argparse
import hashlib
import logging
import os
import shlex
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.utils import comm

from wrimnet.atomic_files import require_file, sole_writer
from wrimnet.config import check_batch, check_plausible, config_hash
from wrimnet.console import open_log
from wrimnet.data.build import build_dataset, build_dataset_folder, build_number
from wrimnet.data.datasets.layout import require_folder, stop
from wrimnet.data.images import fingerprint
from wrimnet.data.protocols import dataset_protocols
from wrimnet.engine.checkpointing import CheckpointStore, seed_everything
from wrimnet.engine.data_parallel import build_shared_model
from wrimnet.engine.distributed import main_process_first, was_restarted
from wrimnet.engine.head import (
    build_data_line,
    build_first_line,
    build_model_line,
    build_output_line,
    build_recipe_line,
    build_start,
    setup_changes,
)
from wrimnet.engine.hooks import StopRequest
from wrimnet.engine.measured_range import setup_infrared_range
from wrimnet.engine.step import setup_pytorch
from wrimnet.engine.trainer import WRIMTrainer
from wrimnet.evaluation.galleries import check_draw
from wrimnet.evaluation.provenance import describe_environment, file_sha256
from wrimnet.evaluation.results import (
    EvaluationReport,
    check_entry,
    check_expected,
    mean_metrics,
)
from wrimnet.modeling.weights import (
    build_trained_model,
    build_without_pretrained,
    check_network,
    read_checkpoint,
    setup_recorded_range,
)
from wrimnet.registries import only_dataset
from wrimnet.run_folder import BEST, CONFIG, EVALUATIONS, FINAL, LOG, TRACES, find_results

_logger = logging.getLogger("fastreid.wrimnet.run")
_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console


def check_run(cfg: CfgNode, *, resume: bool) -> None:
    """Raises for the first rule that a training run would break."""
    check_protocols(cfg)
    check_batch(cfg, comm.get_world_size())
    check_output_dir(cfg, resume=resume)
    if not (resume and CheckpointStore(cfg.OUTPUT_DIR).has_checkpoint()):
        check_start(cfg)


def check_dataset(cfg: CfgNode) -> None:
    """Raises FileNotFoundError, before anything is written, if the dataset's folder is missing."""
    require_folder(str(build_dataset_folder(cfg)), stop)


def check_protocols(cfg: CfgNode) -> None:
    """Refuses protocols, draws and expected results that are not of the dataset."""
    protocols = dataset_protocols(only_dataset(cfg.DATASETS.NAMES), tuple(cfg.TEST.PROTOCOLS))
    for protocol in protocols:
        check_draw(protocol, cfg.TEST.GALLERY_DRAW)
    official, path = cfg.TEST.GALLERY_DRAW == "official", cfg.TEST.PERM_FILE
    if official and path:
        require_file(path, "TEST.PERM_FILE =")
    run = [protocol.name for protocol in protocols]
    for entry in cfg.TEST.EXPECTED_RESULTS:
        check_entry(entry, run, cfg.TEST.METRICS)


def check_start(cfg: CfgNode) -> None:
    """Refuses a start from MODEL.WEIGHTS or BACKBONE.PRETRAIN_PATH that is no file."""
    if cfg.MODEL.WEIGHTS:
        require_file(cfg.MODEL.WEIGHTS, "MODEL.WEIGHTS =")
    elif cfg.MODEL.BACKBONE.PRETRAIN and cfg.MODEL.BACKBONE.PRETRAIN_PATH:
        require_file(cfg.MODEL.BACKBONE.PRETRAIN_PATH, "MODEL.BACKBONE.PRETRAIN_PATH =")


def check_output_dir(cfg: CfgNode, *, resume: bool) -> None:
    """Refuses a folder that holds another run (ValueError) or cannot be written (OSError)."""
    folder = build_output_dir(cfg)
    check_writable(folder)
    store = CheckpointStore(folder)
    traces = [name for name in TRACES if (folder / name).exists()]
    if not resume and (traces or store.has_checkpoint()):
        raise ValueError(
            f"OUTPUT_DIR = {cfg.OUTPUT_DIR!r} holds an earlier run; add --resume to go on with "
            "it, or choose another OUTPUT_DIR"
        )
    if store.has_checkpoint():
        state = store.find_newest()[1]
        check_epochs(cfg, state)
        check_images(cfg, state)
        setup_changes(cfg, state["config_hash"], state["iteration"])
    else:
        store.check_not_lost()
        if resume:
            _logger.warning("nothing to resume in %s; this run starts anew", cfg.OUTPUT_DIR)


def check_epochs(cfg: CfgNode, state: Mapping[str, Any]) -> None:
    """Refuses to go on to an epoch that lies behind the checkpoint; older ones do not say."""
    trained = state["iteration"] / state.get("iters_per_epoch", float("inf"))
    if trained > cfg.SOLVER.MAX_EPOCH:
        raise ValueError(
            f"SOLVER.MAX_EPOCH = {cfg.SOLVER.MAX_EPOCH}: the run in {cfg.OUTPUT_DIR} has trained "
            f"{trained:g} epochs; give at least as many, or choose another OUTPUT_DIR"
        )


def check_images(cfg: CfgNode, state: Mapping[str, Any]) -> None:
    """Refuses to go on with other training images; older checkpoints do not say which they had."""
    if state.get("images") and state["images"] != fingerprint(build_dataset(cfg).train):
        raise ValueError(
            f"the run in {cfg.OUTPUT_DIR} was trained on other images than those in "
            f"{build_dataset_folder(cfg)}; name its DATASETS.ROOT, or choose another OUTPUT_DIR"
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


def train(cfg: CfgNode, args: argparse.Namespace) -> int:
    """Trains, evaluates and writes the results; ends with code 75 when a signal stops it.

    Returns 0, or 1 if the results are not those of TEST.EXPECTED_RESULTS. A restart by torchrun
    after a failure implies ``--resume``.
    """
    resume, held = was_restarted() or args.resume, ExitStack()
    with main_process_first():
        if comm.is_main_process():
            check_dataset(cfg)
            check_run(cfg, resume=resume)
            held.enter_context(hold_output_dir(cfg))
    began = time.monotonic()
    with held, StopRequest(comm.get_world_size()) as request:
        cfg = setup_infrared_range(cfg, resume=resume)
        setup_run(cfg)
        trainer = build_trainer(cfg, resume=resume, request=request)
        trainer.resume_or_load(resume)
        trainer.check_evaluation()
        tell_start(trainer, cfg, args)
        report = trainer.train()
        if report is None:
            _console.info("nothing left to train")
            results = find_results(build_output_dir(cfg))
            if results and (build_output_dir(cfg) / FINAL).is_file():
                return check_metrics(cfg, mean_metrics(results))
            report = trainer.evaluate_again()
        tell_end(time.monotonic() - began, trainer.best)
        return check_results(cfg, report)


def tell_start(trainer: WRIMTrainer, cfg: CfgNode, args: argparse.Namespace) -> None:
    """Tells the rest of the head: what needs the data and the model."""
    _console.info(build_data_line(cfg, trainer.data_loader.dataset.items, "train on"))
    _console.info(build_model_line(cfg, trainer.model, build_start(cfg, trainer.num_trained)))
    _console.info(build_recipe_line(cfg, args, trainer.iters_per_epoch))
    _console.info(build_output_line(cfg))


def tell_end(seconds: float, best: Mapping[str, float]) -> None:
    """Tells how long it took, and which evaluation was the best so far."""
    _console.info(
        f"done     in {timedelta(seconds=round(seconds))}; best mAP so far "
        f"{100 * best['value']:.2f} after iteration {best['iteration']}: {BEST}, chosen on the "
        "test set"
    )


def hold_output_dir(cfg: CfgNode) -> AbstractContextManager:
    """Keeps other runs out of OUTPUT_DIR; BlockingIOError where one is at work in it."""
    return sole_writer(build_output_dir(cfg), "wait for it, or choose another OUTPUT_DIR")


def evaluate(cfg: CfgNode, args: argparse.Namespace) -> int:
    """Evaluates MODEL.WEIGHTS in a folder of its own; returns as :func:`train`."""
    check_dataset(cfg)
    check_protocols(cfg)
    weights = check_weights(cfg)
    cfg = setup_recorded_range(cfg)
    cfg = build_evaluation_cfg(cfg)
    if comm.is_main_process():
        check_writable(build_output_dir(cfg))
    setup_run(cfg)
    model = build_shared_model(cfg, build_trained_model(cfg))
    evaluator = WRIMTrainer.build_evaluator(cfg)
    _console.info(build_data_line(cfg, evaluator.items, "test on"))
    _console.info(build_model_line(cfg, model, f"weights {weights}"))
    _console.info(build_output_line(cfg))
    report = evaluator.run(model.eval(), weights)
    _console.info(f"{report.summary()}\n{report.measured()}")
    if comm.is_main_process():
        report.write(build_output_dir(cfg))
    return check_results(cfg, report)


def build_evaluation_cfg(cfg: CfgNode) -> CfgNode:
    """Returns a copy whose OUTPUT_DIR is this evaluation's own, below the run's.

    Its name says the weights, what is done to the features, and a hash of the weights, the
    configuration and the dataset's folder: a run's results stay as training wrote them.
    """
    cfg, weights = cfg.clone(), Path(cfg.MODEL.WEIGHTS)
    ways = ("FLIP", "AQE", "RERANK")
    words = [weights.stem, *(way.lower() for way in ways if cfg.TEST[way].ENABLED)]
    folder = build_dataset_folder(cfg).resolve()
    identity = f"{file_sha256(weights)} {config_hash(cfg)} {folder}".encode()
    words.append(hashlib.sha256(identity).hexdigest()[:8])
    cfg.defrost()
    cfg.OUTPUT_DIR = str(build_output_dir(cfg) / EVALUATIONS / "-".join(words))
    cfg.freeze()
    return cfg


def build_output_dir(cfg: CfgNode) -> Path:
    """Returns the folder of the run; nothing is made. ValueError for the working folder."""
    folder = Path(cfg.OUTPUT_DIR)
    if folder == Path():
        raise ValueError(
            f"OUTPUT_DIR = {cfg.OUTPUT_DIR!r} is the working folder; name one of the run's own"
        )
    return folder


def build_trainer(cfg: CfgNode, *, resume: bool, request: StopRequest | None = None) -> WRIMTrainer:
    """Builds the trainer, without ImageNet weights where a checkpoint replaces them."""
    has_weights = cfg.MODEL.WEIGHTS or (resume and CheckpointStore(cfg.OUTPUT_DIR).has_checkpoint())
    return WRIMTrainer(build_without_pretrained(cfg) if has_weights else cfg, request)


def setup_run(cfg: CfgNode) -> None:
    """Opens the log, dumps the configuration, seeds the generators, sets PyTorch's switches."""
    folder, main = Path(cfg.OUTPUT_DIR), comm.is_main_process()
    open_log(folder / LOG if main else None, comm.get_rank())
    if main:
        (folder / CONFIG).write_text(cfg.dump())
        _logger.info("called as %s", shlex.join(sys.argv))
        _logger.info("environment %s", describe_environment(cfg.MODEL.DEVICE))
    seed_everything(cfg.SEED)
    setup_pytorch(cfg)
    _console.info(build_first_line(cfg))
    for doubt in check_plausible(cfg):
        _logger.warning("%s; is that meant?", doubt)


def check_weights(cfg: CfgNode) -> str:
    """Returns MODEL.WEIGHTS; refuses to evaluate without, or with weights that would leak."""
    if not cfg.MODEL.WEIGHTS:
        raise ValueError("--eval-only needs MODEL.WEIGHTS FILE on the command line or in the YAML")
    require_file(cfg.MODEL.WEIGHTS, "MODEL.WEIGHTS =")
    content = read_checkpoint(cfg.MODEL.WEIGHTS)
    check_trained_on(cfg, content.get("trained_on"))
    check_network(cfg, content)
    return cfg.MODEL.WEIGHTS


def check_trained_on(cfg: CfgNode, trained_on: dict | None) -> None:
    """Refuses to test a model on another division than its own: its identities would leak."""
    dataset = only_dataset(cfg.DATASETS.NAMES)
    if not trained_on or trained_on["dataset"] != dataset.name:
        return
    wanted = dataset.describe_number(build_number(cfg, dataset))
    for name, number in wanted.items():
        if trained_on.get(name) != number:
            raise ValueError(
                f"the weights were trained on {dataset.title} split {trained_on.get(name)}; "
                f"testing them on split {number} would leak training identities. Set "
                f"{dataset.number_key} {trained_on.get(name)}"
            )


def check_results(cfg: CfgNode, report: EvaluationReport) -> int:
    """Logs the results; returns 1 if they are not those of TEST.EXPECTED_RESULTS, else 0."""
    for line in report.lines():
        _logger.info(line)
    return check_metrics(cfg, report.metrics)


def check_metrics(cfg: CfgNode, metrics: Mapping[str, Mapping[str, float]]) -> int:
    """Returns 1 if mean metrics per protocol are not TEST.EXPECTED_RESULTS, else 0."""
    failures = check_expected(metrics, cfg.TEST.EXPECTED_RESULTS)
    for failure in failures:
        _logger.error(failure)
    return 1 if failures else 0
