"""What ``import wrimnet`` offers in Python beside trained models: data, training, scores, readers.

Metrics are in percent here, as on the console; the files of a run hold shares in [0, 1].
"""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

import numpy as np
import torch
from fastreid.config import CfgNode
from torch import Tensor

from wrimnet.config.plugins import load_plugin
from wrimnet.data.build import default_root
from wrimnet.data.datasets.base import CrossModalityDataset
from wrimnet.data.images import ImageItem
from wrimnet.data.protocols import find_protocol
from wrimnet.evaluation.features import (
    check_not_zero,
    evaluate_features,
    load_features,
    parse_items,
)
from wrimnet.evaluation.galleries import OfficialPermutations
from wrimnet.evaluation.results import printed_metrics, results_by_weights
from wrimnet.inference.embedder import Embedder, build_embedder
from wrimnet.lab.synthetic.generate_synthetic import generate_synthetic
from wrimnet.lab.synthetic.layouts import LAYOUTS
from wrimnet.lab.synthetic.plan import Request
from wrimnet.metrics.names import PRINTED, named_values
from wrimnet.registries import find_dataset
from wrimnet.run_folder import check_run_folder, kind_of
from wrimnet.run_folder import read_metrics as read_metric_lines
from wrimnet.run_folder import read_results as read_result_file

Percent = dict[str, float]  # by metric


def load_dataset(
    name: str, root: str | PathLike | None = None, *, split: str = "trainval", number: int = 1
) -> CrossModalityDataset:
    """Reads a dataset; its ``train`` and ``test`` are lists of :class:`ImageItem`.

    Args:
        name: LLCM, RegDB, SYSU-MM01, or what an imported module of yours has registered.
        root: folder that holds the dataset's; None: FASTREID_DATASETS of the environment, else
            "datasets".
        split: "trainval", or "train": tested on identities that are held out of training.
        number: division of the dataset, such as RegDB's 1 to 10.

    Raises:
        KeyError: no dataset is called so.
        FileNotFoundError, ValueError: its files are missing or not as they are distributed.
    """
    load_plugin("wrimnet.plugin")
    folder = default_root() if root is None else fspath(root)
    return find_dataset(name)(root=folder, split=split, number=number)


def make_synthetic_dataset(
    root: str | PathLike,
    *,
    layout: str = "llcm",
    train_ids: int = 32,
    test_ids: int = 16,
    images_per_id: int = 4,
    seed: int = 0,
) -> Path:
    """Draws synthetic pedestrians in a dataset's layout, to try things with.

    Args:
        root: gets the dataset's folder; one that holds the same images already is left alone.
        layout: "llcm", "regdb" or "sysu".
        train_ids: training identities.
        test_ids: test identities.
        images_per_id: images of an identity in each modality.
        seed: of the draw.

    Returns:
        The dataset's folder, ``ROOT/LLCM`` or such; DATASETS.ROOT is ``root``.

    Raises:
        FileExistsError: the folder holds something else.
        ValueError: a count is too small or too large, or an unknown layout.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout {layout!r} is unknown; use one of {', '.join(LAYOUTS)}")
    request = Request(
        seed=seed,
        train_ids=train_ids,
        test_ids=test_ids,
        images_per_id=images_per_id,
        test_images_per_id=images_per_id,
    )
    return generate_synthetic(layout=layout, out=Path(root), request=request)


def score(
    features: np.ndarray | Tensor | str | PathLike,
    protocol: str,
    items: Sequence[ImageItem | str] | None = None,
    *,
    metrics: Sequence[str] = PRINTED,
    num_trials: int = 10,
    draw: str = "agw",
    perm_file: str | PathLike | None = None,
) -> Percent:
    """Scores features of any model under a protocol; similarity is their dot product.

    Args:
        features: (N, D) of N test images of both modalities, or a file as
            ``tools/evaluate_features.py`` reads it; of several parts, the whole.
        protocol: such as "llcm_ir2vis".
        items: the N images: items of a dataset, or their paths in its layout; None for a file.
        metrics: names as TEST.METRICS has them.
        num_trials: random gallery samplings (trials), where the protocol has them.
        draw: gallery sampling, "agw" or "official".
        perm_file: SYSU-MM01's ``rand_perm_cam.mat``, for "official".

    Returns:
        The metrics by name, in percent: means over the trials.

    Raises:
        KeyError: no protocol is called so.
        ValueError: features or images do not fit, or features of an image are all zero.
    """
    _check_lists(items=items, metrics=metrics)
    load_plugin("wrimnet.plugin")
    chosen = find_protocol(protocol)
    if isinstance(features, str | PathLike):
        items, parts = load_features(fspath(features), chosen.dataset)
        features = np.concatenate([*parts.values()], axis=1)
    if items is None:
        raise ValueError("items is None: give the image of each row, such as load_dataset(..).test")
    rows, images = _as_array(features), _as_items(items, chosen.dataset)
    results = evaluate_features(
        images,
        rows,
        chosen,
        draw=draw,
        permutations=None if perm_file is None else OfficialPermutations.load(fspath(perm_file)),
        num_trials=num_trials,
        metrics=metrics,
    )
    check_not_zero([rows], images)
    return _in_percent(results.mean())


def _as_array(features: np.ndarray | Tensor) -> np.ndarray:
    if not isinstance(features, Tensor):
        return np.asarray(features)
    if features.dtype == torch.bfloat16:
        raise ValueError("features have dtype bfloat16, expected float32 or float64: .float()")
    return features.detach().cpu().numpy()


def _check_lists(**given: Any) -> None:
    """Raises ValueError for a text in place of a list: its letters are not its entries."""
    for name, value in given.items():
        if isinstance(value, str):
            raise ValueError(f"{name} is the text {value!r}, expected a list")


def _as_items(images: Sequence[ImageItem | str], dataset: str) -> list[ImageItem]:
    """Items of a list that may hold paths in the dataset's layout."""
    paths = [image for image in images if not isinstance(image, ImageItem)]
    by_path = dict(zip(paths, parse_items(paths, dataset), strict=True))
    return [image if isinstance(image, ImageItem) else by_path[image] for image in images]


def train(
    cfg: CfgNode,
    *,
    resume: bool = False,
    on_evaluation: Callable[[int, dict[str, Percent]], Any] | None = None,
) -> dict[str, Percent]:
    """Trains a network, evaluates it and writes the run into OUTPUT_DIR, as ``train_net.py`` does.

    From another thread than the main one, signals do not stop it; ``on_evaluation`` does. One
    training at a time: random generators belong to the process.

    Args:
        cfg: of :func:`setup_cfg`.
        resume: go on from the newest checkpoint in OUTPUT_DIR.
        on_evaluation: called with the epoch, from 1, and the metrics after each evaluation, also
            the last one; what it raises ends the training, whose checkpoint stays.

    Returns:
        The metrics of the last evaluation: by protocol, by name, in percent.

    Raises:
        ValueError: OUTPUT_DIR holds an earlier run without ``resume``, or another rule is broken.
        SystemExit: a signal stopped the training; code 75.
    """
    from wrimnet.engine.hooks import EvaluationCallback  # training code is for those who train
    from wrimnet.engine.run import train_and_test

    hooks = []
    if on_evaluation is not None:
        hooks = [
            EvaluationCallback(lambda epoch, results: on_evaluation(epoch, in_percent(results)))
        ]
    return in_percent(train_and_test(cfg, resume=resume, recipe="Python", hooks=hooks))


def evaluate(
    model: Embedder | CfgNode,
    dataset: CrossModalityDataset | str | None = None,
    protocols: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> dict[str, Percent]:
    """Tests a trained model; writes nothing.

    Args:
        model: of :func:`wrimnet.load`, or a configuration with MODEL.WEIGHTS. The keys under TEST
            of the configuration count, those that ``load`` got as options as well.
        dataset: of :func:`load_dataset`, or a name, with root, split and division as the
            configuration has them; None for the configuration's.
        protocols: names; none: TEST.PROTOCOLS, or the dataset's defaults.
        metrics: names; none: TEST.METRICS.

    Returns:
        By protocol, the metrics by name in percent, means over the trials.

    Raises:
        ValueError: training images of the weights are tested on, or a protocol is another
            dataset's.
    """
    _check_lists(protocols=protocols, metrics=metrics)
    embedder = build_embedder(model) if isinstance(model, CfgNode) else model
    lineage = embedder.facts.lineage
    evaluator = embedder.build_evaluator(lineage, dataset, protocols, metrics)
    return in_percent(evaluator.run(embedder.model).metrics)


def in_percent(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, Percent]:
    """Returns metrics by protocol that are given as shares."""
    return {protocol: _in_percent(values) for protocol, values in metrics.items()}


def _in_percent(values: Mapping[str, float]) -> Percent:
    return {name: 100 * value for name, value in values.items()}


def read_metrics(run: str | PathLike) -> list[dict[str, float]]:
    """Reads what a run has logged, oldest first: ``pandas.DataFrame(read_metrics(run))``.

    Returns:
        A record per logged iteration: "iteration" from 1; losses, learning rate, seconds, images
        per second; and where it was tested, "PROTOCOL/METRIC" in percent.

    Raises:
        FileNotFoundError: no folder of a run.
        ValueError: a line is damaged.
    """
    lines = read_metric_lines(check_run_folder(fspath(run)))
    return [
        {name: 100 * v if kind_of(name) == "test" else v for name, v in line.items()}
        for line in lines
    ]


def read_results(run: str | PathLike) -> list[dict[str, Any]]:
    """Reads the results of a run or an evaluation: ``pandas.DataFrame(read_results(run))``.

    Returns:
        A record per protocol and selection of embedding parts, the whole embedding first: "run",
        "weights" ("model", or a hook's such as "ema"), "dataset", "protocol", "direction",
        "embedding", "whole", "num_trials", "queries"; each metric in percent, mean over the trials;
        and "METRIC std", their standard deviation.

    Raises:
        FileNotFoundError: there are no results.
    """
    content = read_result_file(fspath(run))
    return [
        {"run": str(Path(run)), "weights": weights} | _result_record(content["description"], entry)
        for weights, entries in results_by_weights(content).items()
        for entry in entries
    ]


def _result_record(description: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    names = printed_metrics(description)
    mean, std = (_in_percent(named_values(entry[of], names)) for of in ("mean", "std"))
    return {
        "dataset": description["dataset"],
        **{name: entry[name] for name in ("protocol", "direction")},
        "embedding": "+".join(entry["parts"]),
        **{name: entry[name] for name in ("whole", "num_trials")},
        "queries": entry["queries"][0],
        **mean,
        **{f"{name} std": value for name, value in std.items()},
    }
