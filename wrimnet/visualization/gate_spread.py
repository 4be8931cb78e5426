"""What the gates of a MIIM vary with: channels, images, positions."""

from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
    """Mean and variance of gates g(n, c, p) over images n, channels c and positions p.

    The three parts add up to the variance (law of total variance):

        channels   Var_c( E_np g )             as a fixed weight of each channel would have it
        images     E_c  Var_n( E_p g | c )     a weight of each channel, chosen for each image
        positions  E_nc Var_p( g | n, c )      the only part that differs between positions
    """

    mean: float
    channels: float
    images: float
    positions: float

    @property
    def variance(self) -> float:
        """Over everything."""
        return self.channels + self.images + self.positions


class GateSpread:
    """Gathers gates batch by batch, in float64."""

    def __init__(self) -> None:
        self.num_images = 0
        self._maps = np.zeros(())  # (C, h, w) in the end
        self._squared_means = self._squares = np.zeros(())  # each (C,) in the end

    def add(self, gates: np.ndarray) -> None:
        """Takes the gates of some images, (B, C, h, w), every time with the same C."""
        wide = gates.astype(np.float64)
        means = wide.mean(axis=(2, 3))  # (B, C)
        self.num_images += len(means)
        self._maps = self._maps + wide.sum(axis=0)
        self._squared_means = self._squared_means + (means**2).sum(axis=0)
        self._squares = self._squares + (wide**2).mean(axis=(2, 3)).sum(axis=0)

    def mean_map(self) -> np.ndarray:
        """Returns the mean over the images, (C, h, w).

        Raises:
            ValueError: no gates were added.
        """
        if not self.num_images:
            raise ValueError("no gates were added; call add first")
        return self._maps / self.num_images

    def channel_means(self) -> np.ndarray:
        """Returns each channel's mean over images and positions, (C,)."""
        return self.mean_map().mean(axis=(1, 2))

    def spread(self) -> Spread:
        """Returns mean and variance in its three parts.

        Raises:
            ValueError: no gates were added.
        """
        means = self.channel_means()
        squared_means = self._squared_means / self.num_images
        return Spread(
            mean=float(means.mean()),
            channels=float(means.var()),
            images=float((squared_means - means**2).mean()),
            positions=float((self._squares / self.num_images - squared_means).mean()),
        )
