"""GRI, Global Region Interaction: the second step of MIIM."""

import torch.nn.functional as F
from torch import Tensor, nn


class GlobalRegionInteraction(nn.Module):
    """Lets every position of a feature map attend to its regions, by multi-head attention.

    ::

        F4 = GRI(Q = F2, K = F3, V = F3)
           = Linear(concat_heads(softmax(q k^T / sqrt(d)) v)),  q = W_q F2, k = W_k F3, v = W_v F3

    Queries are all positions, keys and values only the regions, so the cost is linear in the number
    of positions. No dropout. Of q, k, v and output only the output has a bias.

    Without a residual, positions differ in F4 only by how they attend: when tokens and regions are
    alike but for a part e, that has the order e^3. With one, F4 = F2 + GRI(...).

    Args:
        channels: length of a token, a multiple of num_heads.
        num_heads: number of attention heads.
        residual: whether the tokens are added to what they gathered.

    Raises:
        ValueError: num_heads does not divide channels.
    """

    def __init__(self, *, channels: int, num_heads: int, residual: bool = False) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(
                f"the compressed channels ({channels}) are not a multiple of num_heads "
                f"({num_heads}); choose a number of heads that divides channels / reduction"
            )
        self.num_heads = num_heads
        self.residual = residual
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)
        self.output = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, regions: Tensor) -> Tensor:
        """Gathers for each token what it needs of the regions.

        Args:
            tokens: F2, (B, T, C), one query per position.
            regions: F3, (B, R, C), the keys and values.

        Returns:
            F4, (B, T, C).
        """
        query = self._split_heads(self.query(tokens))  # (B, heads, T, d)
        key = self._split_heads(self.key(regions))  # (B, heads, R, d)
        value = self._split_heads(self.value(regions))
        attended = F.scaled_dot_product_attention(query, key, value)  # (B, heads, T, d)
        gathered = self.output(attended.transpose(1, 2).flatten(2))  # (B, T, C)
        return tokens + gathered if self.residual else gathered

    def _split_heads(self, projected: Tensor) -> Tensor:
        return projected.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
