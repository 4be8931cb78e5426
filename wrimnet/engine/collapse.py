"""Warns once when features shrink to a point: the triplet loss then stays at its margin."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from wrimnet.modeling.network import FEATURE_NORM

TRIPLET = "raw/tri"

_logger = logging.getLogger("fastreid.wrimnet.collapse")


class CollapseWatch:
    """Looks at every iteration's feature norm and triplet loss, once they are on the host.

    Features have collapsed if their norm is below ``share`` of that of the first iteration, or if
    the batch-hard triplet loss is within ``tolerance`` of its margin for ``patience`` iterations:
    all distances are then near 0.

    Args:
        margin: of the triplet loss; 0 where it has none.
    """

    def __init__(
        self, margin: float, *, share: float = 0.01, tolerance: float = 0.05, patience: int = 200
    ) -> None:
        self._margin, self._share = margin, share
        self._tolerance, self._patience = tolerance, patience
        self._first_norm: float | None = None
        self._at_margin = 0  # iterations in a row
        self._has_warned = False

    def look(self, iterations: Sequence[int], rows: Sequence[Mapping[str, float]]) -> None:
        """Takes the values of these iterations, in order; warns of the first sign."""
        for iteration, row in zip(iterations, rows, strict=True):
            sign = self._sign_of(row)
            if sign and not self._has_warned:
                self._has_warned = True
                _logger.warning(
                    "the features have collapsed at iteration %d: %s. More iterations hardly "
                    "help; train again with MODEL.WRIM.TRIPLET.UNIT_LENGTH True or "
                    "MODEL.WRIM.MIIM.NORM entrance, whichever is not set yet",
                    iteration,
                    sign,
                )

    def _sign_of(self, row: Mapping[str, float]) -> str:
        norm, loss = row.get(FEATURE_NORM), row.get(TRIPLET)
        if self._first_norm is None:
            self._first_norm = norm
        at_margin = loss is not None and abs(loss - self._margin) <= self._tolerance * self._margin
        self._at_margin = self._at_margin + 1 if self._margin and at_margin else 0
        if norm is not None and self._first_norm and norm < self._share * self._first_norm:
            return f"their mean L2 norm is {norm:.3g}, it was {self._first_norm:.3g} at the start"
        if self._at_margin >= self._patience:
            return (
                f"the triplet loss is {loss:.3f}, near its margin {self._margin:g}, for "
                f"{self._at_margin} iterations"
            )
        return ""

    def state_dict(self) -> list[Any]:
        """Returns what a resumed run goes on from."""
        return [self._first_norm, self._at_margin, self._has_warned]

    def load_state_dict(self, state: Sequence[Any]) -> None:
        """Takes over what :meth:`state_dict` returned."""
        self._first_norm, self._at_margin, self._has_warned = state
