"""FastReID's trainer with the parts replaced that do not work on current PyTorch."""

import logging
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import wrimnet.compat

from fastreid.config import CfgNode
from fastreid.engine import DefaultTrainer
from fastreid.engine.train_loop import HookBase, TrainerBase
from fastreid.utils import comm
from fastreid.utils.events import EventStorage, EventWriter, JSONWriter
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

import wrimnet.plugin  # noqa: F401  registers what the configuration names
from wrimnet.config import build_network_settings, changed_keys, check_num_classes, config_hash
from wrimnet.data.build import build_dataset, build_number, build_train_loader
from wrimnet.data.images import fingerprint
from wrimnet.data.loader import TrainLoader
from wrimnet.engine.checkpointing import CheckpointStore, random_state, restore_random_state
from wrimnet.engine.data_parallel import build_shared_model, load_whole_batch, share_statistics
from wrimnet.engine.distributed import Agreement, main_process_first, mean_over_ranks
from wrimnet.engine.hooks import (
    CheckpointHook,
    EvaluationHook,
    FlushedTensorboardWriter,
    LogHook,
    ProgressPrinter,
    StopRequest,
)
from wrimnet.engine.progress import NonFiniteError, Progress, with_replay
from wrimnet.engine.solver import build_lr_scheduler, build_optimizer
from wrimnet.engine.step import build_training_step
from wrimnet.evaluation.evaluator import build_evaluator
from wrimnet.evaluation.results import EvaluationReport
from wrimnet.modeling.weights import NETWORK, build_model, start_from_weights
from wrimnet.registries import only_dataset
from wrimnet.run_folder import BEST, CHANGES, FINAL, METRICS, read_json, read_metrics, write_metrics

_logger = logging.getLogger("fastreid.wrimnet.trainer")
_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console


class WRIMTrainer(DefaultTrainer):
    """Trains WRIM-Net from a configuration; resumes at any iteration with the same future.

    Every random draw of training is a function of SEED and the iteration number, so a checkpoint
    needs no sampler state, and a resumed run sees the batches the uninterrupted one would have.
    """

    # plain attributes; the base class has read-only properties into an inner trainer here
    model: nn.Module = None
    optimizer: Optimizer = None
    data_loader: TrainLoader = None
    grad_scaler = None

    def __init__(self, cfg: CfgNode, request: StopRequest | None = None) -> None:
        TrainerBase.__init__(self)
        self.request = request or StopRequest()
        self.data_loader = self.build_train_loader(cfg)
        check_num_classes(cfg, self.data_loader.dataset.num_classes)
        cfg = self.auto_scale_hyperparams(cfg, self.data_loader.dataset.num_classes)
        self.model = self.build_model(cfg).train()
        self.optimizer = self.build_optimizer(cfg, self.model)
        self.setup_length(cfg)
        self.scheduler = self.build_lr_scheduler(cfg, self.optimizer, self.iters_per_epoch)
        self.step = build_training_step(cfg, self.model, self.optimizer)
        self.setup_records(cfg)
        self.register_hooks(self.build_hooks(cfg))

    def setup_length(self, cfg: CfgNode) -> None:
        """Sets the numbers of epochs and iterations.

        Raises ValueError: the training images do not fill one batch.
        """
        num_images, batch = len(self.data_loader.dataset), cfg.SOLVER.IMS_PER_BATCH
        self.iters_per_epoch = cfg.SOLVER.ITERS_PER_EPOCH or num_images // batch
        if self.iters_per_epoch < 1:
            raise ValueError(
                f"{num_images} training images do not fill one batch of SOLVER.IMS_PER_BATCH = "
                f"{batch}; lower it or set SOLVER.ITERS_PER_EPOCH"
            )
        self.start_iter, self.max_epoch = 0, cfg.SOLVER.MAX_EPOCH
        self.max_iter = self.max_epoch * self.iters_per_epoch

    def setup_records(self, cfg: CfgNode) -> None:
        """Sets what is logged, evaluated and saved."""
        self.output_dir = Path(cfg.OUTPUT_DIR)
        self.checkpoints = CheckpointStore(
            self.output_dir, cfg.SOLVER.KEEP_CHECKPOINTS, writes=comm.is_main_process()
        )
        self.progress = Progress(cfg.SOLVER.IMS_PER_BATCH, mean_over_ranks, comm.get_world_size())
        self.best = {"value": -1.0, "iteration": -1}
        self.num_trained = 0  # iterations whose steps an earlier process took
        self.last_report: EvaluationReport | None = None
        self._evaluator = None
        self._build_evaluator = partial(self.build_evaluator, cfg)
        self._origin = {
            "config_hash": config_hash(cfg),
            "trained_on": build_origin(cfg),
            NETWORK: build_network_settings(cfg),
            "images": fingerprint(self.data_loader.dataset.items),
        }
        self._compared = {name: value for name, value, _ in changed_keys(cfg)}
        self._compared |= {"SEED": cfg.SEED, "SOLVER.BASE_LR": cfg.SOLVER.BASE_LR}
        self._initial_weights, self._strict = cfg.MODEL.WEIGHTS, cfg.MODEL.WEIGHTS_STRICT

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> TrainLoader:
        """Builds the training batches."""
        return build_train_loader(cfg)

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """Builds the model by FastReID's registry, for its share of each batch."""
        return build_shared_model(cfg, build_model(cfg))

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> Optimizer:
        """Builds the optimizer; FastReID's contiguous parameters would train nothing."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(
        cls, cfg: CfgNode, optimizer: Optimizer, iters_per_epoch: int
    ) -> LambdaLR:
        """Builds the schedule, which is stepped per iteration."""
        return build_lr_scheduler(cfg, optimizer, iters_per_epoch)

    def build_hooks(self, cfg: CfgNode) -> list[HookBase]:
        """Returns the hooks in the order in which they run."""
        solver = cfg.SOLVER
        return [
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

    def build_writers(self) -> list[EventWriter]:
        """Returns the writers of progress lines, metrics.json and TensorBoard."""
        if not comm.is_main_process():
            return []
        return [
            ProgressPrinter(self.start_iter, self.max_iter, self.iters_per_epoch),
            JSONWriter(str(self.output_dir / METRICS)),
            FlushedTensorboardWriter(str(self.output_dir), self.start_iter, self._compared),
        ]

    def train(self) -> EvaluationReport | None:
        """Trains from ``start_iter`` to the end; returns the last evaluation's report."""
        batches = self.data_loader.iterate(self.num_trained)
        self.iter = self.start_iter
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
        if position == 0 or self.iter == self.start_iter:
            self.before_epoch()
        self.before_step()
        if self.iter >= self.num_trained:  # else resumed from before this iteration's evaluation
            self.run_step(batches)
        self.after_step()
        if position == self.iters_per_epoch - 1:
            self.after_epoch()

    def run_step(self, batches: Iterator[dict[str, Any]]) -> None:
        """Trains on the next batch without waiting for the device."""
        started = time.perf_counter()
        batch = next(batches)
        data_seconds = time.perf_counter() - started
        rate = self.optimizer.param_groups[0]["lr"]
        losses = self.step(batch)
        self.scheduler.step()
        self.progress.add(batch, losses, learning_rate=rate, data_seconds=data_seconds)

    def record_progress(self) -> None:
        """Puts the means since the last log line in the event storage."""
        self.storage.put_scalars(smoothing_hint=False, **self.progress.summarise())

    def _report_skipped(self) -> None:
        skipped = self.data_loader.skipped
        if skipped:
            reasons = "\n".join(f"  {path}: {reason}" for path, reason in skipped.items())
            _logger.info("images that were skipped:\n%s", reasons)
            _logger.warning("%d images were skipped, others stood in", len(skipped))

    def check_evaluation(self) -> None:
        """Tries what an evaluation needs, its images and settings, before hours of training."""
        if self.start_iter < self.max_iter:
            with main_process_first():
                if comm.is_main_process():
                    self._evaluator = self._build_evaluator()
                    self._evaluator.check()

    def evaluate(self, *, final: bool = False) -> EvaluationReport:
        """Evaluates, keeps the best weights, chosen on the test set; ``final`` writes results."""
        self.progress.check_finite()
        share_statistics(self.model)
        self.progress.stop_clock()
        _console.info(f"evaluating after epoch {self.epoch + 1}")
        weights = None
        if final:
            weights = str(self.checkpoints.save_weights(FINAL, self.weights_state()))
        if self._evaluator is None:
            self._evaluator = self._build_evaluator()
        report = self._evaluator.run(self.model.eval(), weights)
        self.model.train()
        _console.info(report.summary())
        if self.last_report is None:
            _console.info(report.measured())
        self.last_report = report
        if (self.output_dir / CHANGES).is_file():
            report.description["changes"] = read_json(self.output_dir / CHANGES)
        for protocol, metrics in report.metrics.items():
            scalars = {f"{protocol}/{metric}": value for metric, value in metrics.items()}
            self.storage.put_scalars(smoothing_hint=False, **scalars)
        _logger.info("evaluation after epoch %d\n%s", self.epoch + 1, report.markdown())
        if final and comm.is_main_process():
            report.write(self.output_dir)
        self._keep_best(report)
        self.progress.start_clock()
        return report

    def evaluate_again(self) -> EvaluationReport:
        """Evaluates a run that has ended, and writes the results that it has lost."""
        self.iter, self.epoch = self.max_iter - 1, self.max_epoch - 1
        with EventStorage(self.start_iter) as self.storage:
            return self.evaluate(final=True)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode) -> Any:
        """Builds the evaluator of the configuration's dataset."""
        return build_evaluator(cfg, build_dataset(cfg), config_hash(cfg))

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, weights: str | None = None) -> EvaluationReport:
        """Evaluates ``model`` on the test set under the protocols of the configuration."""
        return cls.build_evaluator(cfg).run(model.eval(), weights)

    def _keep_best(self, report: EvaluationReport) -> None:
        value = next(iter(report.metrics.values()))["mAP"]
        if value > self.best["value"]:
            self.best = {"value": value, "iteration": self.iter + 1}
            state = {**self.weights_state(), "chosen_on": "test set", "best": self.best}
            self.checkpoints.save_weights(BEST, state)

    def weights_state(self) -> dict[str, Any]:
        """Returns the weights and what they were trained on."""
        return {"model": self.model.state_dict(), "iteration": self.iter + 1, **self._origin}

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
        }
        path = self.checkpoints.save(self.iter + 1, state)
        _logger.info("saved %s", path)

    def resume_or_load(self, resume: bool = True) -> None:
        """Goes on from the newest whole checkpoint, or starts from ``MODEL.WEIGHTS`` if given."""
        with main_process_first():
            self.checkpoints.remove_unfinished()
            if resume and self.checkpoints.has_checkpoint():
                state = self.checkpoints.load_newest()
                try:
                    self._resume(state)
                except Exception as error:  # whatever a content that is not ours leads to
                    reason = f"{type(error).__name__}: {error}"[:500]
                    raise ValueError(
                        f"the newest checkpoint in {self.output_dir} is whole, but not of this "
                        f"run ({reason}); remove it to go on from the one before it"
                    ) from error
            elif self._initial_weights:
                network = self._origin[NETWORK]
                path, strict = self._initial_weights, self._strict
                start_from_weights(self.model, path, strict=strict, network=network)
        if comm.is_main_process():
            self.drop_lines_to_come()

    def drop_lines_to_come(self) -> None:
        """Removes the lines of metrics.json that a resumed run writes again."""
        lines = read_metrics(self.output_dir)
        if lines:
            kept = [line for line in lines if line["iteration"] < self.start_iter]
            write_metrics(self.output_dir, kept)

    def _resume(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.last_epoch = state["scheduler"]["last_epoch"]
        if state["config_hash"] != self._origin["config_hash"]:
            self._take_rates()
        self.progress.load_state_dict(state["progress"])
        self.best = state["best"]
        self.num_trained = state["iteration"]
        evaluated = state.get("evaluated", True)  # older checkpoints always were
        self.start_iter = self.iter = self.num_trained - (not evaluated)
        restore_random_state(state["random"])

    def _take_rates(self) -> None:
        """Sets the rates that the schedule of another configuration has from here on."""
        schedule = self.scheduler
        groups = self.optimizer.param_groups
        for group, base, law in zip(groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
            group["lr"] = base * law(schedule.last_epoch)


def build_origin(cfg: CfgNode) -> dict[str, Any]:
    """Returns what a model of ``cfg`` is trained on, for its checkpoints."""
    dataset = only_dataset(cfg.DATASETS.NAMES)
    return {
        "dataset": dataset.name,
        "split": cfg.DATASETS.SPLIT,
        **dataset.describe_number(build_number(cfg, dataset)),
    }
