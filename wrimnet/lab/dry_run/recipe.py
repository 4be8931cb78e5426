"""A recipe's step and evaluation on a simulated GPU: their costs and faults."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import Tensor, nn

from wrimnet.config import setup_cfg
from wrimnet.config.tree import changed_cfg
from wrimnet.data.build import build_dataset, build_dataset_folder
from wrimnet.data.images import ImageItem
from wrimnet.engine.solver import build_optimizer
from wrimnet.engine.step import CompiledTraining, TrainingStep, build_training_step, setup_pytorch
from wrimnet.lab.benchmarks.batches import batch_of
from wrimnet.lab.benchmarks.counting import StepCost, cost_of
from wrimnet.lab.dry_run.fake_cuda import FakeCuda, fake_cuda, torch_version
from wrimnet.lab.dry_run.memory import LiveMemory
from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.modeling.embedding import embed_parts, join_parts
from wrimnet.modeling.feature_layout import MAPS
from wrimnet.modeling.network import CrossModalityNetwork
from wrimnet.modeling.weights import build_model
from wrimnet.registries import only_dataset


@dataclass(kw_only=True)
class DryRun:
    """What was counted of a recipe; nothing was computed or measured."""

    cfg: CfgNode
    images: int  # of the training set
    parameters: int
    cost: StepCost  # of one training step
    bytes_of: Counter[str]  # of that step, by operator
    peak: dict[str, int]  # bytes by kind at the step's peak
    faults: list[str]  # what a GPU would wait for, maps that are widened
    read_twice: int = 0  # bytes that batch normalization's kernels read again; not in the cost
    compiled: StepCost | None = None  # of the step that SOLVER.COMPILE always makes

    @property
    def iterations(self) -> int:
        """Iterations per epoch."""
        solver = self.cfg.SOLVER
        return solver.ITERS_PER_EPOCH or self.images // solver.IMS_PER_BATCH


COMPILER_TRIED = (2, 13)  # oldest PyTorch whose compiler's planning was tried
_READ_TWICE = {"native_batch_norm": 1, "native_batch_norm_backward": 2}  # first arguments


class DryRunRecord:
    """Costs and memory of the operations of the device."""

    def __init__(self) -> None:
        self.memory, self._is_planned = LiveMemory(), False
        self.restart()

    def restart(self) -> None:
        """Forgets the costs, not what is alive."""
        self.cost, self.bytes_of, self.read_twice = StepCost([]), Counter[str](), 0

    def __call__(self, function: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> None:
        """Notes an operation."""
        if self._is_planned:
            return
        self.memory.note(result)
        flops, num_bytes = cost_of(function, args, kwargs, result)
        name = function.overloadpacket.__name__
        self.cost.operators.append((flops, num_bytes))
        self.bytes_of[name] += num_bytes
        self.read_twice += sum(one.nbytes for one in args[: _READ_TWICE.get(name, 0)])

    def planned(self, run: Callable[[], Any], kernels: Sequence[tuple[int, int]]) -> Any:
        """Runs operations whose kernels are noted in their place."""
        self.cost.operators.extend(kernels)
        self._is_planned = True
        try:
            return run()
        finally:
            self._is_planned = False


def dry_run(config_file: str, overlays: Sequence[str], options: Sequence[str]) -> DryRun:
    """Takes a recipe through two steps, of which the second is counted, and an evaluation.

    Raises:
        ValueError, RuntimeError: what the recipe would raise on a GPU; no compiler.
    """
    record = DryRunRecord()
    with fake_cuda(record) as watch:
        cfg = setup_cfg(config_file, overlays, [*options, "MODEL.DEVICE", "cuda"])
        images, identities, item = training_size(cfg)
        compiles = cfg.SOLVER.COMPILE == "always"
        cfg = build_countable(cfg, identities)
        setup_pytorch(cfg)
        model = build_model(cfg).train()
        step = build_training_step(cfg, model, build_optimizer(cfg, model))
        widened = watch_maps(model) if cfg.SOLVER.PRECISION == "bf16" else []
        shape = (cfg.SOLVER.IMS_PER_BATCH, *cfg.INPUT.SIZE_TRAIN, 3)
        batch = batch_of(cfg, torch.empty(shape, dtype=torch.uint8, device="cuda"), item)
        step(batch)  # so that the optimizer's state is there
        watch.reads.clear()
        record.restart()
        losses = step(batch)
        counted = DryRun(
            cfg=cfg,
            images=images,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            cost=record.cost,
            bytes_of=record.bytes_of,
            read_twice=record.read_twice,
            peak=record.memory.peak(_kinds(step)),
            faults=[
                *(f"read within the step: {read}" for read in watch.reads),
                *_misplaced(model, losses),
            ],
        )
        if cfg.DATALOADER.CACHE == "gpu":
            height, width = cfg.INPUT.SIZE_TRAIN
            counted.peak["training images in memory"] = 3 * height * width * images
        if compiles and model.compiled_functions():
            counted.compiled = count_compiled(step, batch, watch, record)
        record.restart()  # what follows is not counted
        embed(cfg, model)
        counted.faults += [f"map in float32 or not channels-last: {name}" for name in widened]
    return counted


def has_tried_version() -> bool:
    """Whether this PyTorch's compiler is one that this was tried with, or newer."""
    return torch_version() >= COMPILER_TRIED


def check_version() -> None:
    """Raises ValueError for a PyTorch whose compiler this was not tried with."""
    if not has_tried_version():
        raise ValueError(
            f"PyTorch {torch.__version__}: estimating a step with SOLVER.COMPILE always needs "
            "2.13 or newer; without that key the eager step is estimated"
        )


def count_compiled(
    step: TrainingStep, batch: dict[str, Any], watch: FakeCuda, record: DryRunRecord
) -> StepCost:
    """Counts the step with the kernels that the compiler would make.

    Raises:
        ValueError: a PyTorch whose compiler this was not tried with.
    """
    check_version()
    from wrimnet.lab.dry_run.compiled import (
        PlannedFunction,  # its parts are missing in older versions
    )

    planned = partial(PlannedFunction, mode=watch.mode, note=record.planned)
    before, step.acceleration = step.acceleration, CompiledTraining(step.model, planned)
    record.restart()  # its cost is the uncompiled step's
    step(batch)  # plans
    record.restart()
    step(batch)
    step.acceleration = before
    return record.cost


def training_size(cfg: CfgNode) -> tuple[int, int, ImageItem | None]:
    """Images, identities and one item on disk, else the numbers published for training."""
    published = (only_dataset(cfg.DATASETS.NAMES).expected_counts or {}).get("train", {})
    known = cfg.DATASETS.SPLIT == "trainval" and {"images", "identities"} <= published.keys()
    if known and not build_dataset_folder(cfg).exists():
        return published["images"], published["identities"], None
    dataset = build_dataset(cfg)
    return len(dataset.train), dataset.num_train_pids, dataset.train[0]


def build_countable(cfg: CfgNode, identities: int) -> CfgNode:
    """Returns a copy that loads no weights, compiles nothing and has its classes."""
    return changed_cfg(
        cfg,
        {
            "MODEL.BACKBONE.PRETRAIN": False,
            "SOLVER.COMPILE": "never",
            "MODEL.HEADS.NUM_CLASSES": cfg.MODEL.HEADS.NUM_CLASSES or identities,
        },
    )


def watch_maps(model: nn.Module) -> list[str]:
    """Returns a list that gets the modules whose feature maps are not bf16 and channels-last.

    In a network of tokens, or with the channels last, MIIMs alone have maps (B, C, h, w): its other
    tensors with four dimensions are attention, or are laid out otherwise.
    """
    maps: list[str] = []
    backbone: Any = getattr(model, "backbone", model)
    has_maps = getattr(backbone, "layout", MAPS) is MAPS
    watched = backbone if has_maps else backbone.miims

    def check(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and name not in maps:
            narrow = output.dtype == torch.bfloat16
            if not narrow or not output.is_contiguous(memory_format=torch.channels_last):
                maps.append(name)

    for name, module in watched.named_modules():
        module.register_forward_hook(lambda module, inputs, output, name=name: check(name, output))
    return maps


def embed(cfg: CfgNode, model: CrossModalityNetwork) -> None:
    """Embeds a batch of each modality, with its mirrored images."""
    model.eval()
    size = (cfg.TEST.IMS_PER_BATCH, *cfg.INPUT.SIZE_TEST, 3)
    with torch.inference_mode():
        for modality in (VISIBLE, INFRARED):
            images = torch.empty(size, dtype=torch.uint8, device="cuda")
            options: dict[str, Any] = {"flip": True, "precision": cfg.SOLVER.PRECISION}
            join_parts(embed_parts(model, images, modality, **options), model.embedding_parts)


def _misplaced(model: nn.Module, losses: dict[str, Tensor]) -> list[str]:
    tensors = dict(losses) | {
        f"gradient of {name}": parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return [f"not on the device: {name}" for name, one in tensors.items() if not one.is_cuda]


def _kinds(step: TrainingStep) -> dict[str, list[Tensor]]:
    parameters = list(step.model.parameters())
    state = step.optimizer.state.values()
    return {
        "weights": [*parameters, *step.model.buffers()],
        "gradients": [one.grad for one in parameters if one.grad is not None],
        "optimizer": [one for of in state for one in of.values() if isinstance(one, Tensor)],
    }
