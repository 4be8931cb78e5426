"""Loss values of the iterations since the last log line, kept on the device until it is due."""

import math
from collections.abc import Callable

import torch
from torch import Tensor


class LossWindow:
    """Collects scalar tensors and brings them to the host in one transfer per log line.

    Args:
        share: makes of this process's values (iterations, names) those of the whole batch.
    """

    def __init__(self, share: Callable[[Tensor], Tensor]) -> None:
        self._share = share
        self._names: list[str] = []
        self._rows: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def device(self) -> torch.device:
        """Where the values are."""
        return self._rows[-1].device

    def add(self, values: dict[str, Tensor]) -> None:
        """Keeps the values of one iteration; the names are those of the first one."""
        self._names = self._names or list(values)
        self._rows.append(torch.stack([values[name].detach().float() for name in self._names]))

    def rows(self) -> list[dict[str, float]]:
        """Returns the values of each iteration, oldest first; waits for the device."""
        if not self._rows:
            return []
        return [dict(zip(self._names, row, strict=True)) for row in self._table().tolist()]

    def _table(self) -> Tensor:
        """(iterations, names) of the whole batch, on the host; a resumed run's first rows are."""
        rows = [row.to(self.device) for row in self._rows]
        return self._share(torch.stack(rows)).cpu()

    def clear(self) -> None:
        """Empties the window."""
        self._rows = []

    def state_dict(self) -> dict[str, object]:
        """Returns names and values (iterations, names), to go on within a log period."""
        if not self._rows:
            return {"names": self._names, "rows": torch.empty(0, len(self._names))}
        return {"names": self._names, "rows": self._table()}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Takes over what :meth:`state_dict` returned."""
        self._names = list(state["names"])
        self._rows = list(state["rows"])


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """Returns the mean of each value over the iterations."""
    return {name: math.fsum(row[name] for row in rows) / len(rows) for name in rows[0]}


def first_non_finite(rows: list[dict[str, float]]) -> tuple[int, str] | None:
    """Returns index of the iteration and name of the first value that is NaN or infinite."""
    for index, row in enumerate(rows):
        for name, value in row.items():
            if not math.isfinite(value):
                return index, name
    return None
