"""Measures parameters, GFLOP per image and latency of the networks of run folders.

    python tools/measure_cost.py logs/experiments/LLCM/s1_none/seed0
    python tools/measure_cost.py logs/fair/LLCM/agw/seed0 --activations

Writes cost.json into each folder. Latency means something only while nothing else runs.
--activations adds the memory that a training batch keeps for the backward pass, counted on the CPU;
what cost.json has already stays.
"""

from pathlib import Path
from typing import Any

from wrimnet.command_line import at_least_one, make_parser, parse, run_tool
from wrimnet.lab.experiments.plans import setup_planned_cfg
from wrimnet.lab.experiments.runs import read_record
from wrimnet.run_folder import COST, read_json, write_json


def measure_folder(folder: Path, *, activations: bool) -> dict[str, Any]:
    """Builds the network of a run folder, measures it and writes cost.json."""
    record, known = read_record(folder), read_json(folder / COST) or {}
    if not record:
        raise FileNotFoundError(f"{folder} holds no run.json; give folders of run_table.py")
    cost = known if activations and known else {**known, **measure_network(record)}
    if activations:
        cost = {**cost, "activation_mb": count_activations(record)}
    write_json(folder / COST, cost)
    return cost


def measure_network(record: dict[str, Any]) -> dict[str, Any]:
    """Measures parameters, GFLOP and latency of the network of a run."""
    from wrimnet.lab.network_cost import measure_cost
    from wrimnet.modeling.weights import build_model, build_without_pretrained

    cfg = setup_planned_cfg(record)
    height, width = cfg.INPUT.SIZE_TEST
    model = build_model(build_without_pretrained(cfg)).eval()
    return measure_cost(model, height=height, width=width, precision=cfg.SOLVER.PRECISION)


def count_activations(record: dict[str, Any]) -> float:
    """Counts the MB that one training batch of a run keeps for the backward pass."""
    import torch

    from wrimnet.data.augmentation_list import build_augmentation
    from wrimnet.data.build import build_dataset, build_dataset_folder
    from wrimnet.lab.benchmarks.batches import batch_of
    from wrimnet.lab.benchmarks.counting import saved_bytes
    from wrimnet.modeling.weights import build_model, build_without_pretrained

    cfg = setup_planned_cfg(record, "MODEL.DEVICE", "cpu", "MODEL.HEADS.NUM_CLASSES", "64")
    model = build_model(build_without_pretrained(cfg)).train()
    shape = (cfg.SOLVER.IMS_PER_BATCH, *cfg.INPUT.SIZE_TRAIN, 3)
    gray = torch.full(shape, 128, dtype=torch.uint8)
    item = build_dataset(cfg).train[0] if build_dataset_folder(cfg).exists() else None
    batch = build_augmentation(cfg).augment(batch_of(cfg, gray, item))
    there_anyway = [*model.parameters(), *model.buffers(), batch["images"]]
    return saved_bytes(lambda: model(batch), there_anyway) / 1e6


def main() -> int:
    """Measures every folder; returns 0."""
    parser = make_parser(__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="DIR", help="folders of one run each")
    parser.add_argument("--threads", type=at_least_one, help="CPU threads")
    parser.add_argument("--activations", action="store_true", help="count activation memory, too")
    args = parse(parser)

    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    for folder in args.runs:
        cost = measure_folder(folder, activations=args.activations)
        print(
            f"{folder}: {cost['parameters'] / 1e6:.2f} M parameters, {cost['gflop']:.3g} GFLOP per "
            f"image, {cost['latency_ms']:.2f} ms on {cost['device']}"
        )
    return 0


if __name__ == "__main__":
    run_tool(main)
