"""Measures parameters, GFLOP per image and latency of the networks of run folders.

    python tools/measure_cost.py logs/experiments/LLCM/s1_none/seed0

Writes cost.json into each folder. Latency means something only while nothing else runs.
"""

import argparse
import json
from pathlib import Path

import torch

from wrimnet.command_line import run_tool
from wrimnet.config import setup_cfg
from wrimnet.engine.run import build_without_pretrained
from wrimnet.engine.trainer import WRIMTrainer
from wrimnet.experiments.cost import measure_cost
from wrimnet.experiments.records import COST_FILE
from wrimnet.experiments.runs import read_record


def measure_folder(folder: Path) -> dict[str, object]:
    """Builds the network of a run folder, measures it and writes cost.json."""
    record = read_record(folder)
    if not record:
        raise FileNotFoundError(f"{folder} holds no run.json; give folders of run_ablations.py")
    cfg = setup_cfg(record["config_file"], record["overlays"], record["options"])
    height, width = cfg.INPUT.SIZE_TEST
    model = WRIMTrainer.build_model(build_without_pretrained(cfg)).eval()
    cost = measure_cost(model, height=height, width=width, precision=cfg.SOLVER.PRECISION)
    (folder / COST_FILE).write_text(json.dumps(cost, indent=1) + "\n", encoding="utf-8")
    return cost


def main() -> int:
    """Measures every folder; returns 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of one run each")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--traceback", action="store_true", help="show the stack of an error")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    for folder in args.folders:
        cost = measure_folder(folder)
        print(
            f"{folder}: {cost['parameters'] / 1e6:.2f} M parameters, {cost['gflop']:.3g} GFLOP per "
            f"image, {cost['latency_ms']:.2f} ms on {cost['device']}"
        )
    return 0


if __name__ == "__main__":
    run_tool(main)
