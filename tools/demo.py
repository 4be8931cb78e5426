"""Generates pedestrians, trains WRIM-Net on them, evaluates both directions, shows what it found.

    python tools/demo.py [KEY VALUE ...]

A second call goes on where the first one stopped, or shows its results again.
"""

import argparse
import os
import sys
from pathlib import Path

import wrimnet.compat  # noqa: F401

import numpy as np
from fastreid.config import CfgNode

from wrimnet.analysis.ranked_sheet import QUERY, RIGHT, WRONG, Tile, draw_ranked_sheet
from wrimnet.command_line import run_tool
from wrimnet.config import config_hash, setup_cfg
from wrimnet.data.build import build_dataset
from wrimnet.data.items import ImageItem
from wrimnet.data.synthetic.generate import generate
from wrimnet.data.synthetic.plan import Request
from wrimnet.engine.metrics_file import read_metrics
from wrimnet.engine.random_state import seed_everything
from wrimnet.engine.run import build_without_pretrained, train
from wrimnet.engine.trainer import WRIMTrainer
from wrimnet.engine.weights import load_weights
from wrimnet.evaluation.build import build_evaluator
from wrimnet.evaluation.chance import chance_level
from wrimnet.evaluation.evaluator import Evaluator, ProtocolRun
from wrimnet.experiments.metric_table import metric_table
from wrimnet.experiments.tables import markdown
from wrimnet.inspection.run_report import report_training

PROJECT = Path(__file__).resolve().parents[1]
LISTED, SHOWN_QUERIES = 10, 6


def main() -> int:
    """Runs the demo; returns 0 if the network learnt what the README promises, else 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="overrides")
    options = parser.parse_args().opts
    os.chdir(PROJECT)
    cfg = setup_cfg("configs/Synthetic/wrim.yml", options=options)
    generate_dataset(Path(cfg.DATASETS.ROOT))
    train(cfg, argparse.Namespace(resume=True, config_file="configs/Synthetic/wrim.yml"))
    report_training(cfg)
    return show_results(cfg)


def show_results(cfg: CfgNode) -> int:
    """Prints the table, saves the picture, compares with chance."""
    dataset = build_dataset(cfg)
    evaluator = build_evaluator(cfg, dataset, config_hash(cfg))
    seed_everything(cfg.SEED)
    model = WRIMTrainer.build_model(build_without_pretrained(cfg)).eval()
    untrained = evaluator.run(model).metrics
    weights = Path(cfg.OUTPUT_DIR, "model_final.pth")
    load_weights(model, str(weights), for_evaluation=True)
    trained = evaluator.run(model, str(weights)).metrics
    chance = {
        run.protocol.name: chance_level(run.protocol, dataset.test, run.trials).mean
        for run in evaluator.runs
    }
    rows = {"WRIM-Net": trained, "chance (100 random embeddings)": chance, "untrained": untrained}
    title = f"{len({item.pid for item in dataset.test})} generated test identities, percent"
    print(f"\n{markdown(metric_table(title, '', rows))}")
    picture = save_ranked_lists(evaluator, model, dataset.test, Path(cfg.OUTPUT_DIR))
    print(f"ranked results: {picture}\nreport, results, weights, log: {cfg.OUTPUT_DIR}")
    return check_learnt(trained, chance, loss_ratio(cfg))


def generate_dataset(root: Path) -> None:
    """Generates the demo's dataset, unless it is there already."""
    request = Request(train_ids=200, test_ids=80, images_per_id=8, test_images_per_id=8, seed=0)
    generate(layout="llcm", out=root, request=request, workers=os.cpu_count() or 1)


def save_ranked_lists(
    evaluator: Evaluator, model: object, items: list[ImageItem], folder: Path
) -> Path:
    """Saves a sheet of ranked lists of the first protocol's first trial."""
    run, embeddings = evaluator.runs[0], evaluator.embed(model)
    queries = run.trials[0].query_rows
    shown = queries[np.linspace(0, len(queries) - 1, SHOWN_QUERIES).astype(int)]
    rows = [ranked_row(run, embeddings, items, query) for query in shown]
    path = folder / "ranked.png"
    title = f"WRIM-Net on generated data, {run.protocol.direction}: green right, red wrong"
    draw_ranked_sheet(title, rows).save(path)
    return path


def ranked_row(
    run: ProtocolRun, embeddings: np.ndarray, items: list[ImageItem], query: int
) -> list[Tile]:
    """Returns the tiles of a query and of its most similar gallery images."""
    asked = items[query]
    gallery = [
        row
        for row in run.trials[0].gallery_rows
        if not (items[row].pid == asked.pid and items[row].camid == asked.camid)
    ]  # fmt: skip  the camera rule of LLCM
    similarity = embeddings[gallery] @ embeddings[query]
    tiles = [Tile(asked.path, QUERY, f"query {asked.pid} cam {asked.camid}")]
    for rank in np.argsort(-similarity, kind="stable")[:LISTED]:
        found = items[gallery[rank]]
        colour = RIGHT if found.pid == asked.pid else WRONG
        tiles.append(Tile(found.path, colour, f"{found.pid}  {similarity[rank]:.2f}"))
    return tiles


def loss_ratio(cfg: CfgNode) -> float:
    """Returns mean loss of the last tenth of the log lines / that of the first tenth."""
    losses = [line["total_loss"] for line in read_metrics(Path(cfg.OUTPUT_DIR, "metrics.json"))]
    tenth = max(1, len(losses) // 10)
    return float(np.mean(losses[-tenth:]) / np.mean(losses[:tenth]))


def check_learnt(trained: dict, chance: dict, ratio: float) -> int:
    """Prints how far the result is above chance; returns 1 if that is less than promised."""
    passed = ratio < 0.6
    print(f"loss, last tenth of the iterations / first tenth: {ratio:.2f} (promised below 0.60)")
    for protocol, metrics in trained.items():
        for metric, least in (("Rank-1", 5), ("mAP", 3)):
            times = metrics[metric] / chance[protocol][metric]
            passed = passed and times >= least
            print(f"{protocol} {metric}: {times:.1f} times chance (promised at least {least})")
    if not passed:
        print("the demo learnt less than promised", file=sys.stderr)
    return 0 if passed else 1


if __name__ == "__main__":
    run_tool(main)
