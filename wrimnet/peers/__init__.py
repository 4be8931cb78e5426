"""The methods that the field compares with, as a plugin: ``PLUGINS: ("wrimnet.peers",)``.

The two-stream baseline, AGW, CAJ and DEEN (``configs/*/{two_stream,agw,caj,deen}.yml``) as parts
that YAML combines, with WRIM-Net's own too. Nothing outside of this package knows of them.
"""

from wrimnet.config import Key
from wrimnet.peers import channel_augmentation, peer_terms, two_stream, two_stream_net

__all__ = ["channel_augmentation", "peer_terms", "two_stream", "two_stream_net"]

_WEIGHT = "[0, 1e6]"


def add_config() -> list[Key]:
    """Returns the keys of the peers' parts, all off by default."""
    net, channels = "MODEL.TWO_STREAM", "INPUT.CHANNELS"
    return [
        Key(f"{net}.NUM_BLOCKS", 4, "Blocks of the ResNet that are used", (2, 3, 4)),
        Key(
            f"{net}.NON_LOCAL",
            (0, 0, 0, 0),
            "AGW: non-local blocks per Block, each after one of its last residual blocks",
            "4 x [0, 100]",
        ),
        Key(f"{net}.EXPAND_AFTER", 0, "DEEN: MFA after Blocks 1 to n, DEE after n", (0, 1, 2, 3)),
        Key(
            f"{net}.POOLING",
            "average",
            "pooling of the last feature map; gem: p = 3",
            ("average", "gem"),
        ),
        Key(
            f"{net}.POOLED_WEIGHT",
            0.5,
            "weight of pooled features in a test embedding that has BN-neck ones too",
            "(0, 1)",
            test_only=True,
        ),
        Key(f"{net}.WEIGHTED_TRIPLET.WEIGHT", 0.0, "AGW: weighted regularized triplet", _WEIGHT),
        Key(f"{net}.WEIGHTED_TRIPLET.SQUARED", False, "CAJ: its squared form"),
        Key(f"{net}.VIEWS.WEIGHT", 0.0, "CAJ: divergence of the two views' logits", _WEIGHT),
        Key(f"{net}.CPM.WEIGHT", 0.0, "DEEN: center pushing", _WEIGHT),
        Key(f"{net}.CPM.MARGIN", 0.2, "its margin", _WEIGHT),
        Key(f"{net}.ORTHOGONALITY.WEIGHT", 0.0, "DEEN: similarity of the branches", _WEIGHT),
        Key(f"{channels}.PADDING", 10, "black padding of the random crop, pixels", "[0, 1000]"),
        Key(f"{channels}.ADAPTATION", False, "CAJ: one channel, or gray, in place of all three"),
        Key(f"{channels}.TWO_VIEWS", False, "CAJ: visible images twice, the second exchanged"),
    ]
