"""Lets every test import its literal oracle: ``from reference.cmkic_loop import ...``."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(2)


@pytest.fixture
def deterministic_algorithms(monkeypatch):
    """Makes torch refuse every operation that has no deterministic algorithm."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for on a GPU
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
