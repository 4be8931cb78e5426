"""TensorBoard without a gap after a kill."""

import wrimnet.compat  # noqa: F401

from fastreid.utils.events import TensorboardXWriter


class FlushedTensorboardWriter(TensorboardXWriter):
    """Brings each line to the file at once.

    The stock writer keeps up to two minutes in memory; a killed run that goes on from a checkpoint
    of those minutes would show a gap.
    """

    def write(self) -> None:
        """Writes the newest values of the event storage."""
        super().write()
        self._writer.flush()
