"""Measures parameters, GFLOP per image and latency of the networks of run folders.

    python tools/measure_cost.py logs/experiments/LLCM/s1_none/seed0

Writes cost.json into each folder. Latency means something only while nothing else runs.
"""

from pathlib import Path
from typing import Any

from wrimnet.command_line import make_parser, parse, run_tool
from wrimnet.config import setup_cfg
from wrimnet.lab.experiments.plans import read_record
from wrimnet.run_folder import COST, write_json


def measure_folder(folder: Path) -> dict[str, Any]:
    """Builds the network of a run folder, measures it and writes cost.json."""
    from wrimnet.lab.network_cost import measure_cost
    from wrimnet.modeling.weights import build_model, build_without_pretrained

    record = read_record(folder)
    if not record:
        raise FileNotFoundError(f"{folder} holds no run.json; give folders of run_ablations.py")
    cfg = setup_cfg(record["config_file"], record["overlays"], record["options"])
    height, width = cfg.INPUT.SIZE_TEST
    model = build_model(build_without_pretrained(cfg)).eval()
    cost = measure_cost(model, height=height, width=width, precision=cfg.SOLVER.PRECISION)
    write_json(folder / COST, cost)
    return cost


def main() -> int:
    """Measures every folder; returns 0."""
    parser = make_parser(__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="DIR", help="folders of one run each")
    parser.add_argument("--threads", type=int, help="CPU threads")
    args = parse(parser)

    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    for folder in args.runs:
        cost = measure_folder(folder)
        print(
            f"{folder}: {cost['parameters'] / 1e6:.2f} M parameters, {cost['gflop']:.3g} GFLOP per "
            f"image, {cost['latency_ms']:.2f} ms on {cost['device']}"
        )
    return 0


if __name__ == "__main__":
    run_tool(main)
