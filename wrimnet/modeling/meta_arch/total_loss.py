"""The weights of the paper's total loss."""

from typing import NamedTuple


class LossWeights(NamedTuple):
    """Weight of each group of terms; 0.0 leaves it out.

    Args:
        classification: of L_cls at each level.
        triplet: of L_tri at each level.
        cmkic: lambda1.
        auxiliary: lambda2, on top of the first two at the auxiliary level.
    """

    classification: float
    triplet: float
    cmkic: float
    auxiliary: float

    def by_term(self) -> dict[str, float]:
        """Returns the factor of each term, in the order of the paper's total."""
        return {
            "cls": self.classification,
            "tri": self.triplet,
            "cmkic": self.cmkic,
            "cls_aux": self.auxiliary * self.classification,
            "tri_aux": self.auxiliary * self.triplet,
        }
