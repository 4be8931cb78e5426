"""Takes recipes through dry runs, one after the other, in a process of its own.

Prints a line of JSON for each name given: its faults, or the error that ended it.
"""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import torch
from torch.nn import functional as F

from wrimnet.engine import step
from wrimnet.lab.dry_run.recipe import dry_run
from wrimnet.layers import miim
from wrimnet.losses import cmkic

ROOT = Path(__file__).resolve().parents[2]
_reduce, _norm = cmkic._reduce, step.gradient_norm


def _on_the_cpu(per_anchor, anchors, reduction):
    return _reduce(per_anchor * torch.ones(len(anchors)), anchors, reduction)


def _value_read(per_anchor, anchors, reduction):
    value = _reduce(per_anchor, anchors, reduction)
    return value if value > 0 else value * 0


def _by_mask(per_anchor, anchors, reduction):
    return per_anchor[anchors].mean()


def _widened(grid, size):
    return F.interpolate(grid, size=size, mode="nearest")


def _copied(parameters):
    return _norm(parameters).cpu().to("cuda")


SMALL = "LLCM/wrim MODEL.BACKBONE.DEPTH 18x"
PLANTS = {
    "tensor of a loss on the CPU": lambda: patch.object(cmkic, "_reduce", _on_the_cpu),
    "value read in a loss": lambda: patch.object(cmkic, "_reduce", _value_read),
    "indexing by a mask": lambda: patch.object(cmkic, "_reduce", _by_mask),
    "map that autocast widens": lambda: patch.object(miim, "enlarge", _widened),
    "copy to the host": lambda: patch.object(step, "gradient_norm", _copied),
}


def faults_of(name):
    """A planted mistake, or a recipe as "SYSU/wrim SOLVER.PRECISION fp32"."""
    config, *options = (SMALL if name in PLANTS else name).split()
    with PLANTS.get(name, nullcontext)():
        try:
            return dry_run(str(ROOT / "configs" / f"{config}.yml"), (), options).faults
        except Exception as error:
            return [f"{type(error).__name__}: {error}"[:2000]]


def compiled(config, *options):
    """What is counted of a recipe with the kernels that the compiler makes, and without."""
    options = [*options, "SOLVER.COMPILE", "always"]
    run = dry_run(str(ROOT / "configs" / f"{config}.yml"), (), options)
    return {
        "flops": (run.cost.flops, run.compiled.flops),
        "bytes": (run.cost.num_bytes + run.read_twice, run.compiled.num_bytes),
        "read_twice": run.read_twice,
    }


if __name__ == "__main__":
    if sys.argv[1] == "compiled":
        print(json.dumps(compiled(*sys.argv[2].split())))
        sys.exit()
    for name in sys.argv[1:]:
        print(json.dumps({name: faults_of(name)}), flush=True)
