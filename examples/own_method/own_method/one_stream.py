"""A network without WRIM-Net: one small stream for both modalities, an identity loss."""

import wrimnet.compat  # noqa: F401

import torch
from fastreid.modeling.meta_arch import META_ARCH_REGISTRY
from torch import nn
from torch.nn import functional as F

from wrimnet.config import Key
from wrimnet.modeling.network import CrossModalityNetwork


def add_config():
    """Returns the keys of this network."""
    return [Key("MODEL.ONE_STREAM.CHANNELS", 32, "length of the embedding", "[1, 65536]")]


@META_ARCH_REGISTRY.register()
class OneStream(CrossModalityNetwork):
    """Two convolutions, average pooling, BN-neck and classifier."""

    training_only = ("classifier.",)
    embedding_parts = ("neck",)

    def __init__(self, cfg):
        super().__init__(pixel_mean=cfg.MODEL.PIXEL_MEAN, pixel_std=cfg.MODEL.PIXEL_STD)
        channels = cfg.MODEL.ONE_STREAM.CHANNELS
        self.stream = nn.Sequential(
            nn.Conv2d(3, channels, 5, 2, 2), nn.ReLU(), nn.Conv2d(channels, channels, 3, 2, 1)
        )
        self.heads = nn.BatchNorm1d(channels)
        self.classifier = nn.Linear(channels, cfg.MODEL.HEADS.NUM_CLASSES, bias=False)

    @property
    def part_dims(self):
        """One group."""
        return {"neck": self.heads.num_features}

    def forward(self, batch):
        """Returns the loss terms in training, the embedding in evaluation."""
        with torch.autocast(self.device.type, enabled=False):
            neck = self.heads(self.stream(self.preprocess_image(batch["images"])).mean((2, 3)))
            if not self.training:
                return F.normalize(neck, dim=1)
            loss = F.cross_entropy(self.classifier(neck), batch["targets"])
        self.raw_losses = {"identity": loss.detach()}
        return {"loss_identity": loss}

    def embed_parts(self, images, modality):
        """Embeds images, the same for both modalities."""
        return {"neck": self.heads(self.stream(self.preprocess_image(images)).mean((2, 3)))}
