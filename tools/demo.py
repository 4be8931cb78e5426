"""Generates pedestrians, trains WRIM-Net on them, evaluates both directions, shows what it found.

    python tools/demo.py [KEY VALUE ...]

A second call goes on where the first one stopped, or shows its results again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.command_line import make_parser, parse, run_tool
from wrimnet.config import setup_cfg
from wrimnet.run_folder import FINAL, read_metrics
from wrimnet.tables import markdown, metric_table

if TYPE_CHECKING:
    from wrimnet.data.images import ImageItem
    from wrimnet.evaluation.evaluator import Evaluator
    from wrimnet.modeling.network import CrossModalityNetwork

PROJECT = Path(__file__).resolve().parents[1]
CONFIG_FILE = "configs/Synthetic/wrim.yml"


def main() -> int:
    """Runs the demo; returns 0 if the results are above the expected minimum, else 1."""
    parser = make_parser(__doc__)
    parser.set_defaults(config_file=CONFIG_FILE)
    arguments = parse(parser)

    from wrimnet.engine.banner import build_next_line
    from wrimnet.engine.run import train
    from wrimnet.visualization.run_report import report_training

    os.chdir(PROJECT)
    cfg = setup_cfg(arguments.config_file, options=arguments.overrides)
    generate_dataset(Path(cfg.DATASETS.ROOT))
    was_started = any(Path(cfg.OUTPUT_DIR).glob("*"))
    train(cfg, resume=was_started, recipe=arguments.config_file)
    report_training(cfg)
    code = show_results(cfg)
    print(build_next_line(cfg))
    return code


def show_results(cfg: CfgNode) -> int:
    """Prints the table, saves the picture, compares with chance."""
    import torch

    from wrimnet.data.build import build_dataset
    from wrimnet.evaluation.chance_level import chance_level
    from wrimnet.evaluation.evaluator import build_evaluator
    from wrimnet.modeling.weights import build_model, build_without_pretrained, load_weights

    dataset = build_dataset(cfg)
    evaluator = build_evaluator(cfg, dataset)
    print("measuring an untrained network and 100 random embeddings, for comparison")
    torch.manual_seed(cfg.SEED)
    model = build_model(build_without_pretrained(cfg)).eval()
    untrained = evaluator.run(model).metrics
    weights = Path(cfg.OUTPUT_DIR, FINAL)
    load_weights(model, str(weights), for_evaluation=True)
    trained = evaluator.run(model, str(weights)).metrics
    chance = {
        run.protocol.name: chance_level(run.protocol, dataset.test, run.trials).mean
        for run in evaluator.runs
    }
    rows = {"WRIM-Net": trained, "chance (100 random embeddings)": chance, "untrained": untrained}
    title = f"{len({item.pid for item in dataset.test})} synthetic test identities, percent"
    print(f"\n{markdown(metric_table(title, '', rows))}")
    picture = save_ranked_lists(evaluator, model, dataset.test, Path(cfg.OUTPUT_DIR))
    print(f"ranked results: {picture}")
    return check_learnt(trained, chance, loss_ratio(cfg))


def generate_dataset(root: Path) -> None:
    """Generates the demo's dataset, unless it is there already."""
    from wrimnet.lab.synthetic.generate_synthetic import generate_synthetic
    from wrimnet.lab.synthetic.plan import USUAL

    generate_synthetic(layout="llcm", out=root, request=USUAL, workers=os.cpu_count() or 1)


def save_ranked_lists(
    evaluator: Evaluator, model: CrossModalityNetwork, items: list[ImageItem], folder: Path
) -> Path:
    """Saves a sheet of ranked lists of the first protocol's first trial."""
    from wrimnet.evaluation.extraction import join_arrays
    from wrimnet.visualization.drawing import add_to_tensorboard, save_picture
    from wrimnet.visualization.ranked_lists import choose_rankings, draw_ranked_lists, listed

    run = evaluator.runs[0]
    embeddings = join_arrays(evaluator.extract(model), model.embedding_parts)
    rankings = choose_rankings(embeddings, items, run, per_kind=2, seed=0)
    path = folder / "ranked.png"
    title = f"WRIM-Net on synthetic data\n{run.protocol.name}, {run.protocol.direction}"
    save_picture(draw_ranked_lists(title, [listed(each, items) for each in rankings]), path)
    add_to_tensorboard(folder, {path.stem: path})
    return path


def loss_ratio(cfg: CfgNode) -> float:
    """Returns mean loss of the last tenth of the log lines / that of the first tenth."""
    import numpy as np

    losses = [line["total_loss"] for line in read_metrics(cfg.OUTPUT_DIR)]
    tenth = max(1, len(losses) // 10)
    return float(np.mean(losses[-tenth:]) / np.mean(losses[:tenth]))


def check_learnt(trained: dict, chance: dict, ratio: float) -> int:
    """Prints how far the result is above chance; returns 1 if that is less than expected."""
    passed = ratio < 0.6
    print(f"loss, last tenth of the iterations / first tenth: {ratio:.2f} (expected below 0.60)")
    for protocol, metrics in trained.items():
        for metric, least in (("Rank-1", 5), ("mAP", 3)):
            times = metrics[metric] / chance[protocol][metric]
            passed = passed and times >= least
            print(f"{protocol} {metric}: {times:.1f} times chance (expected at least {least})")
    if not passed:
        print("the demo's results are below the expected minimum", file=sys.stderr)
    return 0 if passed else 1


if __name__ == "__main__":
    run_tool(main)
