"""ResNet with MIIMs and its ImageNet weights."""
