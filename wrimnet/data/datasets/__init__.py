"""The three datasets; importing this package registers them with FastReID."""

from wrimnet.data.datasets.llcm import LLCM

__all__ = ["LLCM"]
