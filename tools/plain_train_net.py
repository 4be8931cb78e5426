"""Trains, evaluates and saves a network in one plain loop, for reading and for copying.

    python tools/plain_train_net.py --config-file configs/Synthetic/wrim.yml

The same computation as tools/train_net.py on one device, made of the same public parts. Use that
program to resume, to train on several GPUs, to compile, and for logs, checkpoints, the report and
the keys that this loop refuses.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import wrimnet.compat  # noqa: F401

from wrimnet.command_line import add_config_options, make_parser, parse, run_tool
from wrimnet.config import setup_cfg
from wrimnet.config.keys import AUTO
from wrimnet.run_folder import FINAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastreid.config import CfgNode
    from torch import Tensor, nn

    from wrimnet.data.datasets.base import CrossModalityDataset


def main() -> int:
    """Runs the command; returns 0."""
    parser = make_parser(__doc__)
    add_config_options(parser)
    args = parse(parser)
    if not args.config_file:
        raise ValueError("--config-file is missing; for example configs/Synthetic/wrim.yml")
    cfg = setup_cfg(args.config_file, args.overlay, args.overrides)
    check_supported(cfg)
    weights = Path(cfg.OUTPUT_DIR, FINAL)
    if weights.exists():
        raise ValueError(f"{weights} exists; choose another OUTPUT_DIR")
    train_and_test(cfg, weights)
    return 0


def check_supported(cfg: CfgNode) -> None:
    """Raises ValueError for keys that change the computation and that this loop does not read."""
    is_set = {
        "MODEL.WEIGHTS": cfg.MODEL.WEIGHTS,
        "HOOKS": cfg.HOOKS,
        "WRITERS": cfg.WRITERS,
        "SOLVER.CLIP_GRADIENTS.ENABLED": cfg.SOLVER.CLIP_GRADIENTS.ENABLED,
        "SOLVER.ACCUMULATION_STEPS": cfg.SOLVER.ACCUMULATION_STEPS > 1,
        "INPUT.INFRARED_RANGE auto": cfg.INPUT.INFRARED_RANGE == AUTO,
    }
    if names := [name for name, value in is_set.items() if value]:
        raise ValueError(f"this loop does not read {', '.join(names)}; use tools/train_net.py")


def train_and_test(cfg: CfgNode, weights: Path) -> None:
    """Trains for SOLVER.MAX_EPOCH epochs, saves the weights and evaluates them."""
    import torch

    from wrimnet.atomic_files import write_file
    from wrimnet.data.build import build_dataset
    from wrimnet.evaluation.evaluator import build_evaluator

    dataset = build_dataset(cfg)
    model, steps = start(cfg, dataset)
    num_iterations = cfg.SOLVER.MAX_EPOCH * iterations_per_epoch(cfg, dataset)
    for iteration, losses in enumerate(islice(steps, num_iterations), start=1):
        if iteration % cfg.SOLVER.LOG_PERIOD == 0:  # reading a value waits for the device
            terms = ", ".join(f"{name} {float(value):.4f}" for name, value in losses.items())
            print(f"iteration {iteration} of {num_iterations}: {terms}", flush=True)

    weights.parent.mkdir(parents=True, exist_ok=True)
    write_file(weights, lambda file: torch.save({"model": model.state_dict()}, file))
    print(build_evaluator(cfg, dataset).run(model.eval(), str(weights)).summary())


def start(
    cfg: CfgNode, dataset: CrossModalityDataset
) -> tuple[nn.Module, Iterator[dict[str, Tensor]]]:
    """Builds a network and its training, each step of which gives the weighted loss terms."""
    import torch

    from wrimnet.config.tree import changed_cfg
    from wrimnet.data.augmentation_list import build_augmentation
    from wrimnet.data.build import build_train_loader
    from wrimnet.engine.solver import build_lr_scheduler, build_optimizer
    from wrimnet.engine.step import setup_pytorch
    from wrimnet.modeling.weights import build_model

    cfg = changed_cfg(cfg, {"MODEL.HEADS.NUM_CLASSES": dataset.num_train_pids})
    setup_pytorch(cfg)
    loader = build_train_loader(cfg, dataset)
    model = build_model(cfg).train()
    optimizer = build_optimizer(cfg, model)
    scheduler = build_lr_scheduler(cfg, optimizer, iterations_per_epoch(cfg, dataset))
    augmentation = build_augmentation(cfg)
    is_bf16 = cfg.SOLVER.PRECISION == "bf16"
    precision = torch.autocast(str(model.device.type), dtype=torch.bfloat16, enabled=is_bf16)

    def steps() -> Iterator[dict[str, Tensor]]:
        for batch in loader.iterate():
            optimizer.zero_grad(set_to_none=True)
            with precision:
                losses = model(augmentation.augment(batch))
            sum(losses.values()).backward()
            optimizer.step()
            scheduler.step()
            yield losses

    return model, steps()


def iterations_per_epoch(cfg: CfgNode, dataset: CrossModalityDataset) -> int:
    """Returns SOLVER.ITERS_PER_EPOCH, or how many batches the training images fill."""
    return cfg.SOLVER.ITERS_PER_EPOCH or len(dataset.train) // cfg.SOLVER.IMS_PER_BATCH


if __name__ == "__main__":
    run_tool(main)
