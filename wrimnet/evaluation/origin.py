"""What weights were trained on and started from: one record in every file of weights.

The record is a list: the training itself, then the one that its start came from, and so on. Each
entry has "dataset", "stand_in", "split", the division's number, "identities" (numbers of persons),
"images" (a fingerprint), "start" ("random", "ImageNet ..." or "weights ..." with a hash) and, where
there are any, "plugins" (their source files). The entry of a file of weights without a record is
{"unknown": "weights ..."}.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.data.datasets.base import CrossModalityDataset
from wrimnet.data.images import ImageItem, fingerprint
from wrimnet.evaluation.plugin_sources import Source, changed_plugins
from wrimnet.evaluation.provenance import check_scored, file_sha256
from wrimnet.modeling.backbones import build_imagenet_start
from wrimnet.modeling.weights import TRAINED_ON, read_checkpoint

Lineage = Sequence[Mapping[str, Any]]
SHOWN = 5  # identities named in a message

_logger = logging.getLogger("fastreid.wrimnet.origin")


def describe_training(
    dataset: CrossModalityDataset, split: str, start: str, plugins: Sequence[Source] = ()
) -> dict[str, Any]:
    """Returns the entry of a training on the training images of ``dataset``."""
    sources = [{name: one[name] for name in ("module", "file", "sha256")} for one in plugins]
    return {
        "dataset": dataset.name,
        "stand_in": dataset.stand_in,
        "split": split,
        **dataset.describe_number(dataset.number),
        "identities": sorted(_identities(dataset, dataset.train)),
        "images": fingerprint(dataset.train),
        "start": start,
        **({"plugins": sources} if sources else {}),
    }


def build_start_origin(cfg: CfgNode) -> str:
    """Says what a training starts from: "random", "ImageNet HASH" or "weights HASH"."""
    if cfg.MODEL.WEIGHTS:
        return f"weights {file_sha256(cfg.MODEL.WEIGHTS)[:12]}"
    return build_imagenet_start(cfg) if cfg.MODEL.BACKBONE.PRETRAIN else "random"


def find_lineage(content: Mapping[str, Any], file: str | Path) -> Lineage:
    """Returns the record of a file of weights with this content."""
    return content.get(TRAINED_ON) or [{"unknown": f"weights {file_sha256(file)[:12]}"}]


def read_lineage(file: str | Path) -> Lineage:
    """Reads the record of a file of weights."""
    return find_lineage(read_checkpoint(file), file)


def seen_identities(lineage: Lineage, dataset: CrossModalityDataset) -> list[int]:
    """Lists the test identities of ``dataset`` that weights of this lineage were trained on."""
    trained: set[int] = set()
    for entry in lineage:
        if entry.get("dataset") == dataset.name and entry["stand_in"] == dataset.stand_in:
            trained.update(entry["identities"])
    return sorted(trained & _identities(dataset, dataset.test))


def _identities(dataset: CrossModalityDataset, items: Sequence[ImageItem]) -> set[int]:
    """Numbers of persons, which are the same in training and test; pids need not be."""
    return {dataset.person_of(item) for item in items}


def check_unseen(
    lineage: Lineage, dataset: CrossModalityDataset, what: str, *, allowed: bool
) -> None:
    """Refuses, or where ``allowed`` warns of, test identities that weights were trained on."""
    seen = seen_identities(lineage, dataset)
    if seen:
        shown = f"{', '.join(map(str, seen[:SHOWN]))}{', ...' if len(seen) > SHOWN else ''}"
        text = (
            f"{what} were trained on {len(seen)} of the {len(_identities(dataset, dataset.test))} "
            f"identities that {dataset.title} tests here ({shown})"
        )
        if not allowed:
            raise ValueError(
                f"{text}; expected other identities. Use the DATASETS.SPLIT and the trial of the "
                "training, or set TEST.ALLOW_SEEN_IDENTITIES True, which the results record"
            )
        _logger.warning("%s; the results record it", text)
    for entry in lineage:
        if "unknown" in entry:
            _logger.warning("%s do not say what they were trained on", entry["unknown"])


def describe_lineage(lineage: Lineage, dataset: CrossModalityDataset) -> dict[str, Any]:
    """Returns what results say of the weights; None for what the weights do not say."""
    seen = len(seen_identities(lineage, dataset))
    return {
        "train_images": lineage[0].get("images"),
        "start": lineage[0].get("start"),
        **({"seen_identities": seen} if seen else {}),
    }


def describe_trained_plugins(lineage: Lineage, now: Sequence[Source]) -> dict[str, Any]:
    """Returns the sources that the weights were trained with, and warns, if one is another now."""
    trained = lineage[0].get("plugins", [])
    names = {one["module"] for one in trained} & {one["module"] for one in now}
    before, after = ([one for one in side if one["module"] in names] for side in (trained, now))
    changed = changed_plugins(before, after)
    if not changed:
        return {}
    _logger.warning(
        "the weights were trained with another source of %s; the results record both sources",
        ", ".join(changed),
    )
    return {"plugins_of_weights": trained}


def check_own_results(
    content: Mapping[str, Any], expected: Mapping[str, Any], weights: Path
) -> None:
    """Raises ValueError if the results in a run's folder are not of its weights and images.

    ``expected`` are facts of the run, as its results describe them.
    """
    check_scored(content, weights)
    for name, fact in expected.items():
        recorded = content["description"].get(name)
        if recorded != fact:
            raise ValueError(
                f"the results in {weights.parent} are of another run: {name} is {recorded!r}, of "
                f"this run {fact!r}; remove them and use --resume, which evaluates again"
            )
