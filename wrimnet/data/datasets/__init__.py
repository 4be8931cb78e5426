"""The three datasets; importing this package registers them with FastReID."""

from wrimnet.data.datasets.llcm import LLCM
from wrimnet.data.datasets.regdb import RegDB
from wrimnet.data.datasets.sysu_mm01 import SYSU_MM01

__all__ = ["LLCM", "SYSU_MM01", "RegDB"]
