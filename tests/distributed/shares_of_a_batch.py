"""What one process of a group trains and evaluates; alone it is the reference for all."""

import torch
import torch.distributed as dist
from fastreid.utils import comm
from tiny_runs import make_trainer, tiny_cfg
from torch import nn

from wrimnet.config.tree import changed_cfg
from wrimnet.data.build import build_dataset, build_train_loader
from wrimnet.engine.data_parallel import (
    build_shared_model,
    load_whole_batch,
    share_statistics,
    synchronize_batch_norm,
)
from wrimnet.engine.distributed import mean_over_ranks, setup_process_group
from wrimnet.engine.solver import build_optimizer
from wrimnet.engine.step import build_training_step
from wrimnet.evaluation.evaluator import build_evaluator
from wrimnet.modeling.weights import build_model

NUM_CLASSES = 5  # training identities of the noise tree


def small_cfg(root, **overrides):
    """Batches of 4 identities with 2 visible and 2 infrared images each."""
    overrides = {"SOLVER__IMS_PER_BATCH": "16", "TEST__IMS_PER_BATCH": "5"} | overrides
    return tiny_cfg(root, root / "out", **overrides)


def train_and_evaluate(root):
    """All that is compared between one process and several."""
    with setup_process_group(small_cfg(root)):
        return {
            "float64": train_steps(root, torch.float64, 3, SOLVER__OPT="SGD"),
            "float32": train_steps(root, torch.float32, 1, SOLVER__OPT="Adam"),
            "own statistics": train_steps(
                root, torch.float64, 2, SOLVER__OPT="SGD", SOLVER__SYNC_BN="False"
            ),
            "recomputed": train_steps(
                root, torch.float64, 2, SOLVER__OPT="SGD", SOLVER__ACTIVATION_CHECKPOINTING="True"
            ),
            "bf16": normalize_in_bf16(),
            "batch": load_batch(root),
            "inputs": gather_loss_inputs(root),
            "evaluation": evaluate(root),
        }


def evaluate_only(root):
    with setup_process_group(small_cfg(root)):
        return evaluate(root)


def build_parts(cfg):
    torch.manual_seed(0)
    cfg = changed_cfg(cfg, {"MODEL.HEADS.NUM_CLASSES": NUM_CLASSES})
    return cfg, build_shared_model(cfg, build_model(cfg))


def train_steps(root, dtype, num_steps, **overrides):
    """Losses, gradients and weights of consecutive training steps."""
    cfg, model = build_parts(small_cfg(root, SOLVER__BASE_LR="0.001", **overrides))
    model = model.to(dtype).train()
    loader = build_train_loader(cfg, build_dataset(cfg))
    step = build_training_step(cfg, model, build_optimizer(cfg, model))
    steps = []
    for iteration in range(num_steps):
        losses = step(loader.load(iteration))
        steps.append(
            {
                "losses": {k: float(mean_over_ranks(v.detach())) for k, v in losses.items()},
                "gradients": {
                    name: parameter.grad.clone()
                    for name, parameter in model.named_parameters()
                    if parameter.grad is not None
                },
            }
        )
    loader.close()
    share_statistics(model)
    return {"steps": steps, "state": {k: v.clone() for k, v in model.state_dict().items()}}


def normalize_in_bf16():
    """Output, gradient and running variance of norms with and without weights, of own maps."""
    count, rank = comm.get_world_size(), comm.get_rank()
    norms = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=False))
    if count > 1:
        norms = synchronize_batch_norm(norms)
    drawn = torch.randn(2, 16, 3, 4, 2, generator=torch.Generator().manual_seed(0)).bfloat16()
    maps, weights = (of.chunk(count)[rank] for of in drawn)
    maps.requires_grad_()
    out = norms(maps)
    (out * weights).sum().backward()
    return {"out": out.detach(), "grad": maps.grad, "variance": norms[1].running_var}


def load_batch(root):
    cfg = small_cfg(root)
    loader = build_train_loader(cfg, build_dataset(cfg))
    batch = load_whole_batch(loader.load, 3)
    loader.close()
    return batch


def gather_loss_inputs(root):
    """What a loss term can read of the images of the whole batch."""
    cfg, model = build_parts(small_cfg(root))
    loader = build_train_loader(cfg, build_dataset(cfg))
    numbers = torch.arange(len(loader.dataset))
    loader.dataset.attached = {"number": numbers, "pair": numbers[:, None] * torch.ones(1, 2)}
    batch = loader.load(3)
    loader.close()
    of_images = batch["targets"], len(batch["targets"]) // 2, batch["camids"], batch["attached"]
    inputs = model.loss_inputs(None, *of_images)
    attached = {name: inputs.gather(value) for name, value in inputs.attached.items()}
    return {"pids": inputs.pids, "camids": inputs.gather(inputs.camids), **attached}


def train_with_a_broken_image(root, output):
    """What the error of a run says in which the last process alone meets a NaN, at iteration 1."""
    cfg = tiny_cfg(root, output, SOLVER__IMS_PER_BATCH="16", SOLVER__LOG_PERIOD="2")
    with setup_process_group(cfg):
        trainer = make_trainer(cfg)
        if dist.get_rank() == dist.get_world_size() - 1:
            break_augmentation(trainer.step, iteration=1)
        try:
            trainer.train()
        except FloatingPointError as error:
            return str(error)
    return "trained to the end"


def break_augmentation(step, *, iteration):
    augment = step.augment

    def broken(batch):
        augmented = augment(batch)
        if batch["iteration"] == iteration:
            augmented["images"][0, 0, 0, 0] = torch.nan
        return augmented

    step.augment = broken


def evaluate(root):
    """Embeddings (of the main process all) and metrics of an untrained network."""
    cfg, model = build_parts(small_cfg(root))
    evaluator = build_evaluator(cfg, build_dataset(cfg))
    parts = evaluator.extract(model.eval())
    report = evaluator.run(model)
    return {"parts": parts, "metrics": {k: dict(v) for k, v in report.metrics.items()}}
