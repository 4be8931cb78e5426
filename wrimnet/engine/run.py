"""One run from a checked configuration: training with evaluation, or evaluation alone."""

import logging
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.engine.train_loop import HookBase
from fastreid.utils import comm

from wrimnet.atomic_files import sole_writer
from wrimnet.config import check_plausible
from wrimnet.console import open_log
from wrimnet.engine.banner import (
    build_first_line,
    print_end,
    print_evaluation_start,
    print_training_start,
)
from wrimnet.engine.checkpointing import write_atomically
from wrimnet.engine.data_parallel import build_shared_model
from wrimnet.engine.distributed import gather_from_all, was_restarted
from wrimnet.engine.preflight import CheckedRun, check_evaluation, preflight
from wrimnet.engine.signals import StopRequest
from wrimnet.engine.step import setup_pytorch
from wrimnet.engine.trainer import WRIMTrainer
from wrimnet.evaluation.origin import check_own_results
from wrimnet.evaluation.provenance import describe_environment
from wrimnet.evaluation.results import EvaluationReport, check_expected, mean_metrics
from wrimnet.modeling.weights import build_trained_model
from wrimnet.run_folder import (
    CONFIG,
    FINAL,
    LOG,
    RESULTS_TABLE,
    drop_metrics_after,
    find_results,
    run_files,
)

_logger = logging.getLogger("fastreid.wrimnet.run")
LAST_FILES = (FINAL, RESULTS_TABLE)  # beside results.json; evaluating again writes them

_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console
Metrics = Mapping[str, Mapping[str, float]]  # by protocol and name


def train(
    cfg: CfgNode, *, resume: bool = False, recipe: str = "", hooks: Sequence[HookBase] = ()
) -> int:
    """Trains as :func:`train_and_test`; 1 if the results are not TEST.EXPECTED_RESULTS, else 0."""
    metrics = train_and_test(cfg, resume=resume, recipe=recipe, hooks=hooks)
    return check_metrics(cfg, metrics)


def train_and_test(
    cfg: CfgNode, *, resume: bool = False, recipe: str = "", hooks: Sequence[HookBase] = ()
) -> Metrics:
    """Trains, evaluates and writes the results; ends with code 75 when a signal stops it.

    A restart by torchrun after a failure implies ``resume``.

    Args:
        cfg: of the run.
        resume: go on from the newest checkpoint in OUTPUT_DIR.
        recipe: where the configuration comes from, for the console.
        hooks: run before the trainer's own.

    Returns:
        The metrics of the last evaluation by protocol, as fractions.
    """
    began = time.monotonic()
    with ExitStack() as held, StopRequest(comm.get_world_size()) as request:
        trainer = start_training(cfg, held, request, hooks, resume=resume, recipe=recipe)
        report = trainer.train()
        if report is None:
            _console.info("nothing left to train")
            trainer.restore_best()
            results = find_results(trainer.output_dir)
            if results and all((trainer.output_dir / name).is_file() for name in LAST_FILES):
                check_own_results(results, trainer.described(), trainer.output_dir / FINAL)
                return mean_metrics(results)
            report = trainer.evaluate_again()
        print_end(time.monotonic() - began, trainer.best, trainer.evaluator.description["split"])
        log_results(report)
        return report.metrics


def start_training(
    cfg: CfgNode,
    held: ExitStack,
    request: StopRequest,
    hooks: Sequence[HookBase],
    *,
    resume: bool,
    recipe: str,
) -> WRIMTrainer:
    """Checks the run, locks its folder until ``held`` closes, and returns a trainer to start."""
    resume = was_restarted() or resume
    open_log(None, comm.get_rank())
    run = preflight(cfg, resume=resume)
    check_same_start(run)
    if comm.is_main_process():
        held.enter_context(hold_output_dir(run.folder))
        if run_files(run.folder) != run.files:
            raise BlockingIOError(
                f"another process has written to {str(run.folder)!r} in the meantime; start again"
            )
    comm.synchronize()  # nothing is written before all processes have read what is there
    setup_run(run.cfg, held)
    trainer = WRIMTrainer(run, request, hooks)
    if comm.is_main_process():
        clean_folder(run)
    print_training_start(run.cfg, trainer, run.dataset, recipe)
    return trainer


def check_same_start(run: CheckedRun) -> None:
    """Raises ValueError if processes have read another checkpoint, configuration or images."""
    start = {
        "first iteration": run.checkpoint.start_iter + 1 if run.checkpoint else 1,
        "configuration": run.origin["config_hash"],
        **{f"{use} images": images for use, images in run.origin["images"].items()},
    }
    starts = gather_from_all(start)
    for name in start:
        if len(set(values := [of_rank[name] for of_rank in starts])) > 1:
            raise ValueError(
                f"the processes differ in the {name}: {', '.join(map(str, values))} by rank; all "
                "machines must read the same OUTPUT_DIR, dataset and configuration"
            )


def hold_output_dir(folder: Path) -> AbstractContextManager[None]:
    """Makes the folder; keeps other runs out of it, BlockingIOError where one is at work in it."""
    folder.mkdir(parents=True, exist_ok=True)
    return sole_writer(folder, "wait for it, or choose another OUTPUT_DIR")


def setup_run(cfg: CfgNode, held: ExitStack) -> None:
    """Opens the log, dumps the configuration, seeds the generators, sets PyTorch's switches.

    The log is closed with ``held``, but after an error: what follows it belongs there, too.
    """
    folder, main = Path(cfg.OUTPUT_DIR), comm.is_main_process()
    open_log(folder / LOG if main else None, comm.get_rank())
    held.push(lambda kind, *_: open_log(None, comm.get_rank()) if kind is None else None)
    if main:
        write_atomically(folder / CONFIG, lambda file: file.write(cfg.dump().encode()))
        _logger.info("called as %s", shlex.join(sys.argv))
        _logger.info("environment %s", describe_environment(cfg.MODEL.DEVICE))
    setup_pytorch(cfg)
    _console.info(build_first_line(cfg))
    for doubt in check_plausible(cfg):
        _logger.warning("%s; this is valid but unusual", doubt)


def clean_folder(run: CheckedRun) -> None:
    """Removes what an earlier attempt left after the checkpoint that the run goes on from."""
    run.checkpoints.remove_unfinished()
    if run.checkpoint is not None:
        run.checkpoints.set_newest(run.checkpoint.path)
    drop_metrics_after(run.folder, run.checkpoint.start_iter if run.checkpoint else 0)


def evaluate(cfg: CfgNode) -> int:
    """Evaluates MODEL.WEIGHTS in a folder of its own; returns as :func:`train`."""
    open_log(None, comm.get_rank())
    checked = check_evaluation(cfg)
    with ExitStack() as held:
        if comm.is_main_process():
            held.enter_context(hold_output_dir(checked.folder))
        setup_run(checked.cfg, held)
        model = build_shared_model(checked.cfg, build_trained_model(checked.cfg))
        print_evaluation_start(checked.cfg, model, checked.dataset)
        report = checked.evaluator.run(model.eval(), checked.weights)
        _console.info(f"{report.summary()}\n{report.measured()}")
        if comm.is_main_process():
            report.write(checked.folder)
        log_results(report)
        return check_metrics(checked.cfg, report.metrics)


def log_results(report: EvaluationReport) -> None:
    """Logs a line for each result."""
    for line in report.lines():
        _logger.info(line)


def check_metrics(cfg: CfgNode, metrics: Metrics) -> int:
    """Returns 1 if mean metrics per protocol are not TEST.EXPECTED_RESULTS, else 0."""
    failures = check_expected(metrics, cfg.TEST.EXPECTED_RESULTS)
    for failure in failures:
        _logger.error(failure)
    return 1 if failures else 0
