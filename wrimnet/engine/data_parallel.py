"""A model that trains on its share of each batch as if on the whole."""

import warnings

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.utils import comm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from wrimnet.engine.distributed import mean_over_ranks
from wrimnet.engine.synchronized_batch_norm import AllReduceBatchNorm, synchronize_batch_norm
from wrimnet.engine.whole_batch import gather_whole_batch

SYNCHRONIZED = (nn.SyncBatchNorm, AllReduceBatchNorm)


def build_shared_model(cfg: CfgNode, model: nn.Module) -> nn.Module:
    """Lets the losses, and with SOLVER.SYNC_BN the normalisation, see the whole batch."""
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

    Those of synchronised normalisation are equal already.
    """
    if comm.get_world_size() == 1:
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, SYNCHRONIZED):
            for statistic in (module.running_mean, module.running_var):
                statistic.copy_(mean_over_ranks(statistic))
