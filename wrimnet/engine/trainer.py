"""Trains a network from a checked configuration: the loop, its evaluations, its checkpoints."""

import logging
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.engine.train_loop import HookBase, TrainerBase
from fastreid.utils import comm
from fastreid.utils.events import EventStorage, EventWriter, JSONWriter

from wrimnet.config import changed_keys
from wrimnet.config.keys import TESTED_ON
from wrimnet.data.build import build_train_loader
from wrimnet.engine.checkpointing import (
    Checkpoint,
    on_device,
    random_state,
    restore_random_state,
)
from wrimnet.engine.collapse import CollapseWatch
from wrimnet.engine.compiling import describe_compiling, keep_choice, measure_compiling
from wrimnet.engine.data_parallel import build_shared_model, load_whole_batch, share_statistics
from wrimnet.engine.distributed import Agreement, mean_over_ranks
from wrimnet.engine.hooks import (
    CheckpointHook,
    EvaluationHook,
    Hook,
    LogHook,
    ProgressHook,
    SaveBeforeEvaluationHook,
    WeightsCheckHook,
    other_weights,
    state_of,
)
from wrimnet.engine.preflight import CheckedRun
from wrimnet.engine.progress import NonFiniteError, Progress, with_replay
from wrimnet.engine.signals import StopRequest
from wrimnet.engine.solver import build_lr_scheduler, build_optimizer
from wrimnet.engine.step import CompiledStep, build_training_step
from wrimnet.engine.writers import FlushedTensorboardWriter, ProgressPrinter
from wrimnet.evaluation.results import EvaluationReport
from wrimnet.modeling.network import CrossModalityNetwork
from wrimnet.modeling.weights import (
    NETWORK,
    build_model,
    build_without_pretrained,
    read_checkpoint,
    start_from_weights,
)
from wrimnet.registries import HOOK_REGISTRY, WRITER_REGISTRY, build_named
from wrimnet.run_folder import BEST, FINAL, METRICS, checkpoint_path, named_weights

_logger = logging.getLogger("fastreid.wrimnet.trainer")
_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console


class WRIMTrainer(TrainerBase):
    """Trains WRIM-Net from a configuration; resumes at any iteration with the same future.

    Every random draw of training is a function of SEED and the iteration number, so a checkpoint
    needs no sampler state, and a resumed run sees the batches the uninterrupted one would have.

    ``hooks`` run before the trainer's own.
    """

    def __init__(
        self,
        run: CheckedRun,
        request: StopRequest | None = None,
        hooks: Sequence[HookBase] = (),
    ) -> None:
        super().__init__()
        cfg = run.cfg
        self.request = request or StopRequest()
        self.data_loader = build_train_loader(cfg, run.dataset)
        self.model = build_start_model(cfg, has_weights=run.checkpoint is not None).train()
        self.optimizer = build_optimizer(cfg, self.model)
        self.max_epoch, self.iters_per_epoch = run.length
        self.max_iter = run.length.max_iter
        self.scheduler = build_lr_scheduler(cfg, self.optimizer, self.iters_per_epoch)
        self.step = build_training_step(cfg, self.model, self.optimizer)
        self.evaluator = run.evaluator
        self.setup_records(cfg, run)
        self.setup_hooks(cfg, hooks)
        self.setup_start(cfg, run.checkpoint)

    def setup_records(self, cfg: CfgNode, run: CheckedRun) -> None:
        """Sets what is logged, evaluated and saved."""
        self.output_dir = run.folder
        self.checkpoints = run.checkpoints
        self.progress = build_progress(cfg)
        self.best: dict[str, Any] = {"value": -1.0, "iteration": -1}
        self.last_report: EvaluationReport | None = None
        self.origin = run.origin
        self._build_own_writers = partial(build_named, WRITER_REGISTRY, cfg.WRITERS, "WRITERS", cfg)
        self._compared = {name: value for name, value, _ in changed_keys(cfg)}
        self._compared |= {"SEED": cfg.SEED, "SOLVER.BASE_LR": cfg.SOLVER.BASE_LR}

    def setup_start(self, cfg: CfgNode, checkpoint: Checkpoint | None) -> None:
        """Goes on from a checkpoint, or starts from ``MODEL.WEIGHTS`` if given."""
        self.compiling = describe_compiling(self.step)
        may_compile = cfg.SOLVER.COMPILE == "auto" and isinstance(self.step, CompiledStep)
        self.measures_compiling = may_compile and checkpoint is None
        self.start_iter = 0
        self.num_trained = 0  # iterations whose steps an earlier process took
        self.trained_under = self.origin
        if checkpoint is not None:
            self._resume(checkpoint)
        elif cfg.MODEL.WEIGHTS:
            path, strict = cfg.MODEL.WEIGHTS, cfg.MODEL.WEIGHTS_STRICT
            start_from_weights(self.model, path, strict=strict, network=self.origin[NETWORK])

    def setup_hooks(self, cfg: CfgNode, hooks: Sequence[HookBase]) -> None:
        """Registers the hooks in the order in which they run: ``hooks``, HOOKS, the trainer's."""
        solver = cfg.SOLVER
        named = build_named(HOOK_REGISTRY, cfg.HOOKS, "HOOKS", cfg)
        self.own_hooks: list[HookBase] = [*hooks, *named]
        self.trainer_hooks: list[HookBase] = [
            WeightsCheckHook(self._stateful_hooks()),
            SaveBeforeEvaluationHook(cfg.TEST.EVAL_PERIOD),
            ProgressHook(self.build_printer, solver.LOG_PERIOD),
            EvaluationHook(cfg.TEST.EVAL_PERIOD),
            LogHook(self.build_writers, solver.LOG_PERIOD),
            CheckpointHook(
                epochs=solver.CHECKPOINT_PERIOD,
                iterations=solver.CHECKPOINT_ITERS,
                minutes=solver.CHECKPOINT_MINUTES,
                request=self.request,
                agreement=Agreement(2, solver.DISTRIBUTED.TIMEOUT_SECONDS),
            ),
        ]
        self.register_hooks([*self.own_hooks, *self.trainer_hooks])

    def build_printer(self) -> list[EventWriter]:
        """Returns the writer of progress lines on the console."""
        return [ProgressPrinter(self.start_iter, self.max_iter, self.iters_per_epoch)]

    def build_writers(self) -> list[EventWriter]:
        """Returns the writers of metrics.jsonl and TensorBoard, and those of WRITERS."""
        return [
            JSONWriter(str(self.output_dir / METRICS)),
            FlushedTensorboardWriter(str(self.output_dir), self.start_iter + 1, self._compared),
            *self._build_own_writers(),
        ]

    def train(self) -> EvaluationReport | None:
        """Trains from ``start_iter`` to the end; returns the last evaluation's report."""
        batches = self.data_loader.iterate(self.num_trained)
        self.iter = self.start_iter
        self.epoch = self.iter // self.iters_per_epoch
        with self.request.deferred(), EventStorage(self.start_iter) as self.storage:
            try:
                self.before_train()
                self.progress.start_clock()
                while self.iter < self.max_iter:
                    self._iterate(batches)
                    self.iter += 1
            except NonFiniteError as error:
                load = partial(load_whole_batch, self.data_loader.load)
                raise with_replay(error, self.output_dir, load) from error
            finally:
                self._report_skipped()
                self.data_loader.close()
                self.after_train()
        return self.last_report

    def _iterate(self, batches: Iterator[dict[str, Any]]) -> None:
        self.epoch, position = divmod(self.iter, self.iters_per_epoch)
        self.storage.iter, self.storage.epoch = self.iter + 1, self.epoch  # writers count from 1
        if self.iter >= self.num_trained:  # else resumed from before this iteration's evaluation
            if position == 0:
                self.before_epoch()
            self.before_step()
            self.trained_under = self.origin
            self.run_step(batches)
            self.after_step()
            if position == self.iters_per_epoch - 1:
                self.after_epoch()
        for hook in self.trainer_hooks:
            hook.after_step()

    def before_step(self) -> None:
        """Calls the hooks; the base class would count the storage's iterations from 0."""
        for hook in self._hooks:
            hook.before_step()

    def after_step(self) -> None:
        """Calls the hooks that run before the trainer's own, whose checkpoints hold their state."""
        for hook in self.own_hooks:
            hook.after_step()

    def run_step(self, batches: Iterator[dict[str, Any]]) -> None:
        """Trains on the next batch without waiting for the device."""
        started = time.perf_counter()
        batch = next(batches)
        data_seconds = time.perf_counter() - started
        if self.measures_compiling:
            self._measure_compiling(batch)
        rate = self.optimizer.param_groups[0]["lr"]
        losses = self.step(batch)
        self.scheduler.step()
        self.progress.add(batch, losses, learning_rate=rate, data_seconds=data_seconds)

    def _measure_compiling(self, batch: dict[str, Any]) -> None:
        """Keeps the faster form of the step, on the first batch; its time is not the training's."""
        self.compiling, self.measures_compiling = measure_compiling(self.step, batch), False
        self.progress.start_clock()

    def record_progress(self) -> None:
        """Puts the means since the last log line in the event storage."""
        self.storage.put_scalars(smoothing_hint=False, **self.progress.summarize())

    def log(self, name: str, value: float) -> None:
        """Logs a value of a hook's under a name; lines have the newest one, also after a resume."""
        self.progress.log(name, value)

    def _report_skipped(self) -> None:
        skipped = self.data_loader.skipped
        if skipped:
            reasons = "\n".join(f"  {path}: {reason}" for path, reason in skipped.items())
            _logger.info("images that were skipped:\n%s", reasons)
            _logger.warning("%d images were skipped and replaced by others", len(skipped))

    def evaluate(self, *, final: bool = False) -> EvaluationReport:
        """Evaluates and keeps the best weights; ``final`` writes results."""
        self.progress.check_finite()
        share_statistics(self.model)
        self.progress.stop_clock()
        _console.info(f"evaluating after epoch {self.epoch + 1}")
        weights = None
        if final:
            weights = str(self.checkpoints.save_weights(FINAL, self.weights_state()))
        report = self._run_evaluator(weights)
        _console.info(report.summary())
        if self.last_report is None:
            _console.info(report.measured())
        self.last_report = report
        self.storage.put_scalars(smoothing_hint=False, **report.logged())
        _logger.info("evaluation after epoch %d\n%s", self.epoch + 1, report.markdown())
        report.of_hooks = self._evaluate_hooks(final=final)
        if final and comm.is_main_process():
            report.write(self.output_dir)
        self._keep_best(report)
        for hook in self._stateful_hooks():
            hook.after_evaluation(report)
        self.progress.start_clock()
        return report

    def _run_evaluator(self, weights: str | None) -> EvaluationReport:
        report = self.evaluator.run(self.model, weights)
        report.description["compiled"] = self.compiling
        if self.origin["changes"]:
            report.description["changes"] = self.origin["changes"]
        return report

    def _stateful_hooks(self) -> list[Hook]:
        return [hook for hook in self.own_hooks if isinstance(hook, Hook)]

    def _evaluate_hooks(self, *, final: bool) -> dict[str, EvaluationReport]:
        """Evaluates the weights of the hooks that have some; a final evaluation keeps the files."""
        of_hooks = {hook.label: hook.evaluated_weights() for hook in self._stateful_hooks()}
        reports = {}
        for label, weights in of_hooks.items():
            if weights:
                with other_weights(self.model, weights):
                    share_statistics(self.model)
                    path, state = None, self.weights_state()
                    if final:
                        path = str(self.checkpoints.save_weights(named_weights(label), state))
                    reports[label] = self._run_evaluator(path)
                self.storage.put_scalars(smoothing_hint=False, **reports[label].logged(label))
                _console.info(f"{label} weights\n{reports[label].summary()}")
        return reports

    def evaluate_again(self) -> EvaluationReport:
        """Evaluates a run that has ended, and writes the results that it has lost."""
        self.iter, self.epoch = self.max_iter - 1, self.max_epoch - 1
        with EventStorage(self.start_iter) as self.storage:
            return self.evaluate(final=True)

    def described(self) -> dict[str, Any]:
        """Returns what results of this run must say of its configuration, images and start."""
        names = ("dataset", "images", "train_images", "start")
        facts = {name: self.evaluator.description[name] for name in names}
        return {**facts, "config": self.trained_under["config_hash"]}

    def restore_best(self) -> None:
        """Makes model_best.pth again from the checkpoint of its iteration, if it is lost."""
        path = checkpoint_path(self.output_dir, self.best["iteration"])
        if (self.output_dir / BEST).is_file() or self.best["iteration"] < 0:
            return
        if not path.is_file():
            _logger.warning("%s is missing, and so is its source %s", BEST, path.name)
            return
        state = read_checkpoint(path)
        self.save_best({n: state[n] for n in ("model", "iteration", "compiled", *self.origin)})

    def save_best(self, state: dict[str, Any]) -> None:
        """Saves the weights of the best evaluation so far."""
        chosen_on = TESTED_ON[self.evaluator.description["split"]]
        state = {**state, "chosen_on": chosen_on, "best": self.best}
        self.checkpoints.save_weights(BEST, state)

    def _keep_best(self, report: EvaluationReport) -> None:
        if not report.metrics:
            return
        value = next(iter(report.metrics.values()))["mAP"]
        if value > self.best["value"]:
            self.best = {"value": value, "iteration": self.iter + 1}
            self.save_best(self.weights_state())

    def weights_state(self) -> dict[str, Any]:
        """Returns the weights and what they were trained on."""
        self.compiling |= describe_compiling(self.step)  # the compiler may have failed meanwhile
        return {
            "model": self.model.state_dict(),
            "iteration": self.iter + 1,
            "compiled": self.compiling,
            **self.trained_under,
        }

    def save_checkpoint(self, *, evaluated: bool = True) -> None:
        """Saves everything that shapes the iterations to come; refuses weights that are lost.

        Without ``evaluated`` a resumed run begins with what follows the step of this iteration.
        """
        self.progress.check_finite()
        share_statistics(self.model)
        state = {
            **self.weights_state(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": {"last_epoch": self.scheduler.last_epoch},
            "progress": self.progress.state_dict(),
            "best": self.best,
            "iters_per_epoch": self.iters_per_epoch,
            "random": random_state(),
            "evaluated": evaluated,
            "hooks": {hook.label: state_of(hook) for hook in self._stateful_hooks()},
        }
        path = self.checkpoints.save(self.iter + 1, state)
        _logger.info("saved %s", path)

    def _resume(self, checkpoint: Checkpoint) -> None:
        try:
            self._load_state(checkpoint.state)
        except Exception as error:  # whatever a content that is not ours leads to
            reason = f"{type(error).__name__}: {error}"[:500]
            raise ValueError(
                f"{checkpoint.path} is complete, but from another run ({reason}); use the "
                "MODEL.HEADS.NUM_CLASSES and the hooks of its run, or remove it to resume from the "
                "checkpoint before it"
            ) from error
        self.start_iter, self.num_trained = checkpoint.start_iter, checkpoint.state["iteration"]

    def _load_state(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.last_epoch = state["scheduler"]["last_epoch"]
        self.trained_under = {name: state[name] for name in self.origin}
        if state["settings"] != self.origin["settings"]:
            self._take_rates()
        self.progress.load_state_dict(on_device(state["progress"], self.model.device))
        keep_choice(self.step, state["compiled"])
        self.compiling = state["compiled"] | describe_compiling(self.step)
        self.best = state["best"]
        self._load_hooks(state["hooks"])
        restore_random_state(state["random"])

    def _load_hooks(self, states: dict[str, Any]) -> None:
        hooks = {hook.label: hook for hook in self._stateful_hooks()}
        if missing := [name for name, state in states.items() if state and name not in hooks]:
            raise ValueError(f"it holds the state of the hook {missing[0]}, not named in HOOKS")
        for name, hook in hooks.items():
            if name in states:
                hook.load_state_dict(on_device(states[name], self.model.device))

    def _take_rates(self) -> None:
        """Sets the rates that the schedule of another configuration has from here on."""
        schedule = self.scheduler
        groups = self.optimizer.param_groups
        for group, base, law in zip(groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
            group["lr"] = base * law(schedule.last_epoch)


def build_progress(cfg: CfgNode) -> Progress:
    """Builds what collects the values of a log period, with the margin of the triplet loss."""
    triplet = cfg.MODEL.WRIM.TRIPLET
    watch = CollapseWatch(0.0 if triplet.SOFT_MARGIN else triplet.MARGIN)
    return Progress(cfg.SOLVER.IMS_PER_BATCH, mean_over_ranks, comm.get_world_size(), watch)


def build_start_model(cfg: CfgNode, *, has_weights: bool) -> CrossModalityNetwork:
    """Builds the model for its share of each batch, without ImageNet weights where others come."""
    own_start = has_weights or cfg.MODEL.WEIGHTS
    return build_shared_model(cfg, build_model(build_without_pretrained(cfg) if own_start else cfg))
