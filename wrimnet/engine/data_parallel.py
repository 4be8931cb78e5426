"""A model that trains on its share of each batch as if on the whole."""

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import wrimnet.compat  # noqa: F401

import torch
import torch.distributed as dist
import torch.nn.functional as F
from fastreid.config import CfgNode
from fastreid.utils import comm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from wrimnet.data.batch_rows import join_shares, map_tensors
from wrimnet.engine.distributed import mean_over_ranks
from wrimnet.modeling.network import CrossModalityNetwork
from wrimnet.registries import describe_place

ModelT = TypeVar("ModelT", bound=nn.Module)


@torch.compiler.disable
def gather_whole_batch(values: Tensor, num_visible: int) -> Tensor:
    """Gathers what each process computed of its images, in the order of one process's batch.

    Of (B, ...), the B / 2 = ``num_visible`` visible images first, it makes (W * B, ...): the
    visible images of all processes by rank, then the infrared ones; ValueError if half are not
    visible. With W processes, process r holding x_r and L(x_1, ..., x_W) computed by each::

        d L_r / d x_r := W * dL / d x_r

    which is the sum over the processes of what each would send back to x_r, as all compute the same
    L. The mean over the processes, which DistributedDataParallel takes of the parameters'
    gradients, then is the gradient that one process with the whole batch has.
    """
    if 2 * num_visible != len(values):
        raise ValueError(
            f"{num_visible} of a process's {len(values)} images are visible; with several "
            "processes expected half of them (CrossModalitySampler gives that)"
        )
    of_ranks = _Gather.apply(values)  # (W, B, ...)
    visible, infrared = of_ranks[:, :num_visible], of_ranks[:, num_visible:]
    return torch.cat((visible.flatten(0, 1), infrared.flatten(0, 1)))


class _Gather(torch.autograd.Function):
    """(B, ...) on each process -> (W, B, ...) on all."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        of_ranks = values.new_empty((dist.get_world_size(), *values.shape))
        dist.all_gather(list(of_ranks.unbind(0)), values.contiguous())
        return of_ranks

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient[dist.get_rank()] * dist.get_world_size()


def load_whole_batch(load: Callable[[int], dict[str, Any]], iteration: int) -> dict[str, Any]:
    """Loads the batch of all processes, in one process's order; all must call it."""
    share = load(iteration)
    if not dist.is_initialized():
        return share
    shares: list[dict[str, Any]] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(shares, map_tensors(share, Tensor.cpu))
    return join_shares(shares)


class AllReduceBatchNorm(_BatchNorm):
    """Batch normalization over all processes; unlike nn.SyncBatchNorm, no device is waited for.

    Statistics and gradients are those of one process with the whole batch; the result has the
    input's number format. Parameters and buffers have the names of
    nn.BatchNorm2d. Every process must hold the same number of images. Children, such as the
    activation of timm's norms, run after it.
    """

    def _check_input_dim(self, values: Tensor) -> None:
        if values.dim() < 2:
            raise ValueError(f"expected (B, C, ...), got {tuple(values.shape)}")

    def forward(self, values: Tensor) -> Tensor:
        """Normalizes (B, C, ...); in evaluation with the running statistics."""
        normalized = self._normalize(values) if self.training else super().forward(values)
        for child in self.children():
            normalized = child(normalized)
        return normalized

    def _normalize(self, values: Tensor) -> Tensor:
        self._check_input_dim(values)
        weight, bias = self.weight, self.bias
        if weight is None:
            weight, bias = torch.ones_like(self.running_mean), torch.zeros_like(self.running_mean)
        normalized, mean, variance = _Normalize.apply(values, weight, bias, self.eps)
        self._update(mean, variance, values.numel() // values.shape[1] * dist.get_world_size())
        return normalized

    running_mean: Tensor  # BatchNorm2d allows None, this one keeps statistics always
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, count: int) -> None:
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


class _Normalize(torch.autograd.Function):
    """X -> y = w n + b, n = (x - mean) / sqrt(var + eps) over the rows of all processes.

    ::

        mean = E_r[mean_r],  var = E_r[var_r + (mean_r - mean)^2]            r: processes
        dw   = sum(dy * n),  db = sum(dy)                                    over own rows
        dx   = w (dy - E[dy] - n * E[dy * n]) / sqrt(var + eps)              E: all rows

    PyTorch's fused operators read and write the feature maps, in their format; all else is a
    number per channel, in the format of w.
    """

    @staticmethod
    def forward(
        context: Any, values: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        formats = (torch.zeros_like(weight), torch.zeros_like(weight))  # of the two results
        statistics = torch.stack(torch.batch_norm_update_stats(values, *formats, 0.0))
        of_ranks = statistics.new_empty((dist.get_world_size(), *statistics.shape))
        dist.all_gather(list(of_ranks.unbind(0)), statistics)
        mean = of_ranks[:, 0].mean(0)
        variance = (of_ranks[:, 1] + (of_ranks[:, 0] - mean).square()).mean(0)
        context.save_for_backward(values, mean, variance, weight)
        context.eps = eps
        context.mark_non_differentiable(mean, variance)
        return F.batch_norm(values, mean, variance, weight, bias, eps=eps), mean, variance

    @staticmethod
    def backward(context: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        values, mean, variance, weight = context.saved_tensors
        inverse = (variance + context.eps).rsqrt()  # given as CUDA's channels-last kernels need it
        as_constants = (weight, mean, variance, mean, inverse, False, context.eps, [True] * 3)
        scaled, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, values, *as_constants
        )
        means = torch.stack((of_weight, of_bias)) * (values.shape[1] / values.numel())
        dist.all_reduce(means)
        slope, shift = -means / dist.get_world_size() * weight * inverse
        through_statistics = F.batch_norm(values, mean, variance, slope, shift, eps=context.eps)
        return scaled + through_statistics, of_weight, of_bias, None


def synchronize_batch_norm(model: ModelT) -> ModelT:
    """Lets every batch normalization of ``model`` use the images of all processes.

    Parameters and buffers stay the same objects under the same names. ValueError for a norm that
    computes something else.
    """
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, _all_reduced(child))
    return model


_FORWARDS = (_BatchNorm.forward, nn.SyncBatchNorm.forward)
_CHILDREN_OF_TIMM = ["drop", "act"]  # which its norms apply in this order


def _all_reduced(norm: _BatchNorm) -> AllReduceBatchNorm:
    children = dict(norm.named_children())
    if type(norm).forward not in _FORWARDS and [*children] != _CHILDREN_OF_TIMM:
        raise ValueError(
            f"SOLVER.SYNC_BN cannot replace {describe_place(norm)}, a batch normalization with a "
            "forward of its own; set SOLVER.SYNC_BN False"
        )
    replaced = AllReduceBatchNorm(norm.num_features, norm.eps, norm.momentum)
    replaced.weight, replaced.bias = norm.weight, norm.bias
    for name, buffer in norm.named_buffers(recurse=False):
        setattr(replaced, name, buffer)
    for name, child in children.items():
        replaced.add_module(name, child)
    return replaced.train(norm.training)


def build_shared_model(cfg: CfgNode, model: CrossModalityNetwork) -> CrossModalityNetwork:
    """Lets the losses, and with SOLVER.SYNC_BN the normalization, see the whole batch."""
    if comm.get_world_size() == 1:
        return model
    model.gather = gather_whole_batch
    return synchronize_batch_norm(model) if cfg.SOLVER.SYNC_BN else model


def share_gradients(model: nn.Module) -> nn.Module:
    """Returns what to call in training: it leaves the mean gradient of all processes.

    The inputs stay where they are (no ``device_ids``): the modality belongs to the CPU.
    """
    if comm.get_world_size() == 1:
        return model
    with warnings.catch_warnings():  # newer versions of PyTorch rename broadcast_buffers
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)


def share_statistics(model: nn.Module) -> None:
    """Gives all processes the mean of their running statistics, before an evaluation or a save.

    Those of synchronized normalization are equal already.
    """
    if comm.get_world_size() == 1:
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, AllReduceBatchNorm):
            for statistic in filter(torch.is_tensor, (module.running_mean, module.running_var)):
                statistic.copy_(mean_over_ranks(statistic))
