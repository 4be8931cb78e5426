"""The gradient's norm, and a watch that tells when it explodes."""

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from statistics import median

import torch
from torch import Tensor, nn

_logger = logging.getLogger("fastreid.wrimnet.gradients")


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Returns the Euclidean norm of all gradients together, () on their device.

    Nothing waits for the device.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))


class GradientWatch:
    """Warns of a norm above ``factor`` times the median of the norms before it.

    Args:
        factor: how many times the median is an explosion.
        window: number of iterations the median is taken over.
        least: no warning before so many iterations were seen.
    """

    def __init__(self, factor: float = 10.0, window: int = 100, least: int = 20) -> None:
        self._factor, self._least = factor, least
        self._norms: deque[float] = deque(maxlen=window)

    def look(self, iterations: Sequence[int], norms: Sequence[float]) -> None:
        """Takes the norms of these iterations, in order, and logs each explosion."""
        for iteration, norm in zip(iterations, norms, strict=True):
            self._compare(iteration, norm)
            self._norms.append(norm)

    def _compare(self, iteration: int, norm: float) -> None:
        if len(self._norms) < self._least:
            return
        usual = median(self._norms)
        if norm > self._factor * usual:
            _logger.warning(
                "exploding gradient: norm %.4g at iteration %d, %.1f times the median %.4g of the "
                "%d iterations before; lower SOLVER.BASE_LR or set SOLVER.CLIP_GRADIENTS.ENABLED",
                norm,
                iteration,
                norm / usual if usual else float("inf"),
                usual,
                len(self._norms),
            )

    def state_dict(self) -> list[float]:
        """Returns the norms seen last."""
        return list(self._norms)

    def load_state_dict(self, norms: Sequence[float]) -> None:
        """Takes over what :meth:`state_dict` returned."""
        self._norms.clear()
        self._norms.extend(norms)
