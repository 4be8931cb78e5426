"""Lets every test import its literal oracle: ``from reference.cmkic_loop import ...``."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(2)
