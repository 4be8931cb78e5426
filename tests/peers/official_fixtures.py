"""What the official code computes for fixed weights and images: see tests/fixtures/peers.

Weights are drawn from the names of the official tensors; images and results lie in the files.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "peers"
COUNTER = "num_batches_tracked"


def described(file, case):
    return json.loads((FOLDER / f"{file}.json").read_text())[case]


def arrays(file):
    with np.load(FOLDER / f"{file}.npz") as stored:
        return {name: torch.from_numpy(values) for name, values in stored.items()}


def official_weights(shapes):
    return {name: torch.from_numpy(_drawn(name, shape)) for name, shape in shapes.items()}


def with_counters(weights):
    """As a checkpoint has them: the files leave out the counters of batches."""
    norms = [name.removesuffix("running_var") for name in weights if name.endswith("running_var")]
    return {**weights, **{f"{norm}{COUNTER}": torch.tensor(7) for norm in norms}}


def _drawn(name, shape):
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_mean"):
        return 0.1 * values
    if name.endswith("running_var"):
        return 1 + 0.1 * np.abs(values)
    if len(shape) == 1:
        return 0.1 * values + name.endswith("weight")
    return values / np.sqrt(np.prod(shape[1:]))
