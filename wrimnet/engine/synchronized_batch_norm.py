"""Batch normalisation over the images of all processes."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class AllReduceBatchNorm(_BatchNorm):
    """Batch normalisation over all processes, for CPU tensors, which nn.SyncBatchNorm refuses.

    Statistics and gradients are those of one process with the whole batch; parameters and buffers
    have the names of nn.BatchNorm2d. Every process must hold the same number of images.
    """

    def _check_input_dim(self, values: Tensor) -> None:
        if values.dim() < 2:
            raise ValueError(f"expected (B, C, ...), got {tuple(values.shape)}")

    def forward(self, values: Tensor) -> Tensor:
        """Normalises (B, C, ...); in evaluation with the running statistics."""
        if not self.training:
            return super().forward(values)
        self._check_input_dim(values)
        normalized, mean, variance = _Normalize.apply(values, self.eps)
        self._update(mean, variance, values.numel() // values.shape[1] * dist.get_world_size())
        shape = (1, -1, *[1] * (values.dim() - 2))
        return normalized * self.weight.view(shape) + self.bias.view(shape)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, count: int) -> None:
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


class _Normalize(torch.autograd.Function):
    """X -> (x - mean) / sqrt(var + eps) over the rows of all processes, with its gradient.

    ::

        mean = E_r[mean_r],  var = E_r[var_r + (mean_r - mean)^2]            r: processes
        dx   = (dy - E[dy] - y * E[dy * y]) / sqrt(var + eps)                E: all rows
    """

    @staticmethod
    def forward(context: Any, values: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        variance, mean = torch.var_mean(values, _rows_of(values), correction=0)
        own = torch.stack((mean, variance))
        of_ranks = own.new_empty((dist.get_world_size(), *own.shape))
        dist.all_gather(list(of_ranks.unbind(0)), own)
        mean = of_ranks[:, 0].mean(0)
        variance = (of_ranks[:, 1] + (of_ranks[:, 0] - mean).square()).mean(0)
        scale = (variance + eps).rsqrt()
        normalized = (values - _spread(mean, values)) * _spread(scale, values)
        context.save_for_backward(normalized, scale)
        context.mark_non_differentiable(mean, variance)
        return normalized, mean, variance

    @staticmethod
    def backward(context: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, None]:
        normalized, scale = context.saved_tensors
        rows = _rows_of(gradient)
        means = torch.stack((gradient.mean(rows), (gradient * normalized).mean(rows)))
        dist.all_reduce(means)
        of_gradient, of_product = means / dist.get_world_size()
        centred = gradient - _spread(of_gradient, gradient)
        centred = centred - normalized * _spread(of_product, gradient)
        return centred * _spread(scale, gradient), None


def _rows_of(values: Tensor) -> list[int]:
    return [0, *range(2, values.dim())]


def _spread(per_channel: Tensor, values: Tensor) -> Tensor:
    return per_channel.view(1, -1, *[1] * (values.dim() - 2))


def synchronize_batch_norm(model: nn.Module) -> nn.Module:
    """Lets every batch normalisation of ``model`` use the images of all processes.

    Parameters and buffers stay the same objects under the same names. On a GPU it is PyTorch's
    SyncBatchNorm, on a CPU :class:`AllReduceBatchNorm`.
    """
    if next(model.parameters()).device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, _all_reduced(child))
    return model


def _all_reduced(norm: _BatchNorm) -> AllReduceBatchNorm:
    replaced = AllReduceBatchNorm(norm.num_features, norm.eps, norm.momentum)
    replaced.weight, replaced.bias = norm.weight, norm.bias
    for name, buffer in norm.named_buffers(recurse=False):
        setattr(replaced, name, buffer)
    return replaced.train(norm.training)
