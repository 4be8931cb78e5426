"""How MIIM joins the features F0 with what its restoration returns, F5: (F0, F5) -> F0'."""

from torch import Tensor, nn


class SigmoidGate(nn.Module):
    """A gate: F0 * scale * sigmoid(F5) (supplement, section E and Table S3).

    A gate of another formula is a subclass with its own ``gate``.

    Args:
        scale: factor of the sigmoid; with 2 the gate starts near one.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def gate(self, restored: Tensor) -> Tensor:
        """Computes what the features are multiplied with, position by position.

        Args:
            restored: F5, (B, C, h, w), also before it is enlarged to the size of the features.

        Returns:
            Of the same shape.
        """
        gate = restored.sigmoid()
        return gate if self.scale == 1 else self.scale * gate

    def forward(self, features: Tensor, restored: Tensor) -> Tensor:
        """Fuses F0 and F5, each (B, C, H, W)."""
        return features * self.gate(restored)


class Multiplication(nn.Module):
    """F0 * F5 (supplement, Table S3)."""

    def forward(self, features: Tensor, restored: Tensor) -> Tensor:
        """Fuses F0 and F5, each (B, C, H, W)."""
        return features * restored


class Addition(nn.Module):
    """F0 + F5 (supplement, Table S3)."""

    def forward(self, features: Tensor, restored: Tensor) -> Tensor:
        """Fuses F0 and F5, each (B, C, H, W)."""
        return features + restored
