"""Everything that can be refused before a run starts; reads, and writes nothing."""

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.utils import comm

from wrimnet.atomic_files import require_file
from wrimnet.config import (
    build_network_settings,
    check_batch,
    check_num_classes,
    config_hash,
    plain,
)
from wrimnet.config.keys import AUTO
from wrimnet.config.setup import RANGE_KEY, hashed_values
from wrimnet.config.tree import changed_cfg
from wrimnet.data.build import build_dataset
from wrimnet.data.datasets.base import CrossModalityDataset
from wrimnet.data.images import fingerprint
from wrimnet.data.infrared_range import measure_infrared_range
from wrimnet.engine.checkpointing import Checkpoint, CheckpointStore
from wrimnet.engine.resume_changes import build_changes
from wrimnet.evaluation.evaluator import Evaluator, build_evaluator
from wrimnet.evaluation.extraction import from_main_process
from wrimnet.evaluation.origin import (
    Lineage,
    build_start_origin,
    check_unseen,
    describe_lineage,
    describe_trained_plugins,
    describe_training,
    find_lineage,
    read_lineage,
)
from wrimnet.evaluation.plugin_sources import Source, changed_plugins, describe_plugins
from wrimnet.evaluation.provenance import file_sha256
from wrimnet.evaluation.results import check_entry
from wrimnet.modeling.weights import (
    NETWORK,
    TRAINED_ON,
    check_network,
    read_checkpoint,
    setup_recorded_range,
)
from wrimnet.run_folder import EVALUATIONS, run_files

_logger = logging.getLogger("fastreid.wrimnet.preflight")


class TrainingLength(NamedTuple):
    """How long a training is."""

    max_epoch: int
    iters_per_epoch: int

    @property
    def max_iter(self) -> int:
        """Iterations of all epochs."""
        return self.max_epoch * self.iters_per_epoch


@dataclass(frozen=True, kw_only=True)
class CheckedRun:
    """A training that may start, with everything that was read to know it.

    Attributes:
        cfg: configuration, with the number of training identities.
        folder: OUTPUT_DIR.
        files: names of the files of an earlier run in it.
        checkpoints: of that run, and where this one saves its own.
        checkpoint: the newest whole one; None for a run that begins.
        dataset: for training and evaluation.
        evaluator: of its test images.
        length: in epochs and iterations.
        origin: what its weights come from, for every file of weights.
    """

    cfg: CfgNode
    folder: Path
    files: list[str]
    checkpoints: CheckpointStore
    checkpoint: Checkpoint | None
    dataset: CrossModalityDataset
    evaluator: Evaluator
    length: TrainingLength
    origin: dict[str, Any]


def preflight(cfg: CfgNode, *, resume: bool) -> CheckedRun:
    """Raises for the first rule that a training would break; returns what was read.

    Of several processes, the main one also reads every test image.
    """
    check_batch(cfg, comm.get_world_size())
    folder = build_output_dir(cfg)
    files = run_files(folder)
    if files and not resume:
        raise ValueError(
            f"OUTPUT_DIR = {str(folder)!r} holds an earlier run; add --resume to continue it, or "
            "choose another OUTPUT_DIR"
        )
    store = build_checkpoints(cfg, folder)
    checkpoint = store.find_newest()
    if checkpoint is None:
        check_start(cfg, folder, resume=resume)
    dataset = build_dataset(cfg)
    cfg = build_known_cfg(cfg, dataset, checkpoint)
    length = build_length(cfg, len(dataset.train))
    origin = build_origin(cfg, dataset, checkpoint)
    check_unseen(origin[TRAINED_ON], dataset, "the weights of the start", allowed=True)
    if checkpoint is not None:
        check_epochs(length, checkpoint.state, folder)
        check_images(dataset, checkpoint.state, origin, folder)
        check_plugins(checkpoint.state["plugins"], origin["plugins"], folder)
        origin["changes"] = build_changes(cfg, checkpoint.state, folder)
    evaluator = build_checked_evaluator(cfg, dataset, origin[TRAINED_ON])
    done = checkpoint.start_iter if checkpoint else 0
    if comm.is_main_process() and done < length.max_iter:
        evaluator.check()
    return CheckedRun(
        cfg=cfg,
        folder=folder,
        files=files,
        checkpoints=store,
        checkpoint=checkpoint,
        dataset=dataset,
        evaluator=evaluator,
        length=length,
        origin=origin,
    )


def build_output_dir(cfg: CfgNode) -> Path:
    """Returns the folder of the run; nothing is made.

    Raises:
        ValueError: it is the current directory.
        OSError: it cannot be written.
    """
    folder = Path(cfg.OUTPUT_DIR)
    if folder == Path():
        raise ValueError(
            f"OUTPUT_DIR = {cfg.OUTPUT_DIR!r} is the current directory; choose a folder for this "
            "run alone"
        )
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        reason = "is not writable" if existing.is_dir() else "is a file"
        raise OSError(
            f"OUTPUT_DIR = {cfg.OUTPUT_DIR!r} cannot be written ({existing} {reason}); choose "
            "another OUTPUT_DIR"
        )
    return folder


def build_checkpoints(cfg: CfgNode, folder: Path) -> CheckpointStore:
    """Returns the checkpoints of a run, which the main process writes."""
    return CheckpointStore(folder, cfg.SOLVER.KEEP_CHECKPOINTS, writes=comm.is_main_process())


def check_start(cfg: CfgNode, folder: Path, *, resume: bool) -> None:
    """Refuses a start from MODEL.WEIGHTS or BACKBONE.PRETRAIN_PATH that is no file."""
    if resume:
        _logger.warning("nothing to resume in %s; a new run starts", folder)
    if cfg.MODEL.WEIGHTS:
        require_file(cfg.MODEL.WEIGHTS, "MODEL.WEIGHTS =")
    elif cfg.MODEL.BACKBONE.PRETRAIN and cfg.MODEL.BACKBONE.PRETRAIN_PATH:
        require_file(cfg.MODEL.BACKBONE.PRETRAIN_PATH, "MODEL.BACKBONE.PRETRAIN_PATH =")


def build_known_cfg(
    cfg: CfgNode, dataset: CrossModalityDataset, checkpoint: Checkpoint | None
) -> CfgNode:
    """Returns a copy with what the data say: number of identities, INPUT.INFRARED_RANGE auto.

    The range is measured on the training images, or is in the checkpoint of a resumed run;
    it is the same on every process. ValueError for fewer classes than identities.
    """
    check_num_classes(cfg, dataset.num_train_pids)
    measured: Sequence[float] = ()
    if cfg.INPUT.INFRARED_RANGE == AUTO:
        if checkpoint is not None:
            measured = checkpoint.state[NETWORK].get(RANGE_KEY, ())
        elif comm.is_main_process():
            measured = measure_infrared_range(
                dataset.train,
                num_threads=cfg.DATALOADER.NUM_WORKERS,
                skip_bad=cfg.DATALOADER.ON_BAD_IMAGE == "skip",
            )
        measured = from_main_process(measured)
    number = cfg.MODEL.HEADS.NUM_CLASSES or dataset.num_train_pids
    if number > dataset.num_train_pids:
        _logger.warning(
            "MODEL.HEADS.NUM_CLASSES = %d, but there are %d training identities: the other classes "
            "have no images; 0 counts them from the data",
            *(number, dataset.num_train_pids),
        )
    values = {"MODEL.HEADS.NUM_CLASSES": number, "INPUT.MEASURED_RANGE": tuple(measured)}
    return changed_cfg(cfg, values)


def build_length(cfg: CfgNode, num_images: int) -> TrainingLength:
    """Returns epochs and iterations; ValueError if the images do not fill one batch."""
    batch = cfg.SOLVER.IMS_PER_BATCH
    iters_per_epoch = cfg.SOLVER.ITERS_PER_EPOCH or num_images // batch
    if iters_per_epoch < 1:
        raise ValueError(
            f"{num_images} training images do not fill one batch of SOLVER.IMS_PER_BATCH = "
            f"{batch}; lower it or set SOLVER.ITERS_PER_EPOCH"
        )
    return TrainingLength(cfg.SOLVER.MAX_EPOCH, iters_per_epoch)


def build_origin(
    cfg: CfgNode, dataset: CrossModalityDataset, checkpoint: Checkpoint | None = None
) -> dict[str, Any]:
    """Returns what a model of ``cfg`` is trained on and by, for its files of weights."""
    plugins = describe_plugins(cfg.PLUGINS)
    return {
        "config_hash": config_hash(cfg),
        "settings": plain(hashed_values(cfg)),
        "changes": [],
        TRAINED_ON: build_lineage(cfg, dataset, checkpoint, plugins),
        NETWORK: build_network_settings(cfg),
        "images": {"training": fingerprint(dataset.train), "test": fingerprint(dataset.test)},
        "plugins": plugins,
    }


def build_lineage(
    cfg: CfgNode,
    dataset: CrossModalityDataset,
    checkpoint: Checkpoint | None,
    plugins: Sequence[Source],
) -> Lineage:
    """Returns what a model is trained on, and what the weights that it starts from were."""
    if checkpoint is not None:
        return checkpoint.state[TRAINED_ON]
    earlier = read_lineage(cfg.MODEL.WEIGHTS) if cfg.MODEL.WEIGHTS else []
    training = describe_training(dataset, cfg.DATASETS.SPLIT, build_start_origin(cfg), plugins)
    return [training, *earlier]


def check_epochs(length: TrainingLength, state: Mapping[str, Any], folder: Path) -> None:
    """Refuses to end before the checkpoint."""
    trained = state["iteration"] / state["iters_per_epoch"]
    if trained > length.max_epoch:
        raise ValueError(
            f"SOLVER.MAX_EPOCH = {length.max_epoch}: the run in {folder} has trained {trained:g} "
            "epochs; give at least as many, or choose another OUTPUT_DIR"
        )


def check_images(
    dataset: CrossModalityDataset, state: Mapping[str, Any], origin: Mapping[str, Any], folder: Path
) -> None:
    """Refuses to go on with other images."""
    for use, images in origin["images"].items():
        if state["images"][use] != images:
            raise ValueError(
                f"the run in {folder} had other {use} images than those in {dataset.folder}; name "
                "its DATASETS.ROOT, or choose another OUTPUT_DIR"
            )


def check_plugins(before: list[dict[str, Any]], now: list[dict[str, Any]], folder: Path) -> None:
    """Refuses to go on with plug-ins whose source has changed."""
    if changed := changed_plugins(before, now):
        raise ValueError(
            f"the source of plug-ins, {', '.join(changed)}, was changed, added or removed "
            f"since the newest checkpoint in {folder}; restore it, or choose another OUTPUT_DIR"
        )


def build_checked_evaluator(
    cfg: CfgNode, dataset: CrossModalityDataset, lineage: Lineage
) -> Evaluator:
    """Builds the evaluator of weights of this lineage; refuses expected results of others."""
    evaluator = build_evaluator(cfg, dataset)
    evaluator.description |= describe_lineage(lineage, dataset)
    names = [run.protocol.name for run in evaluator.runs]
    for entry in cfg.TEST.EXPECTED_RESULTS:
        check_entry(entry, names, cfg.TEST.METRICS)
    return evaluator


@dataclass(frozen=True, kw_only=True)
class CheckedEvaluation:
    """An evaluation that may start, with what was read to know it.

    Attributes:
        cfg: configuration, OUTPUT_DIR the evaluation's own folder.
        folder: OUTPUT_DIR.
        dataset: whose test images are evaluated.
        evaluator: of them.
        weights: file of the model.
    """

    cfg: CfgNode
    folder: Path
    dataset: CrossModalityDataset
    evaluator: Evaluator
    weights: str


def check_evaluation(cfg: CfgNode) -> CheckedEvaluation:
    """Raises for the first rule that an evaluation would break; returns what was read."""
    build_output_dir(cfg)
    dataset, content = build_dataset(cfg), check_weights(cfg)
    cfg = setup_recorded_range(cfg)
    lineage = find_lineage(content, cfg.MODEL.WEIGHTS)
    check_unseen(lineage, dataset, "the weights", allowed=cfg.TEST.ALLOW_SEEN_IDENTITIES)
    cfg = build_evaluation_cfg(cfg, fingerprint(dataset.test))
    evaluator = build_checked_evaluator(cfg, dataset, lineage)
    plugins = evaluator.description.get("plugins", [])
    evaluator.description |= describe_trained_plugins(lineage, plugins)
    of_training = ("changes", "compiled")
    evaluator.description |= {name: content[name] for name in of_training if content.get(name)}
    return CheckedEvaluation(
        cfg=cfg,
        folder=build_output_dir(cfg),
        dataset=dataset,
        evaluator=evaluator,
        weights=cfg.MODEL.WEIGHTS,
    )


def check_weights(cfg: CfgNode) -> dict[str, Any]:
    """Reads MODEL.WEIGHTS; refuses to evaluate without, or in another network than theirs."""
    if not cfg.MODEL.WEIGHTS:
        raise ValueError("--eval-only needs MODEL.WEIGHTS FILE on the command line or in the YAML")
    require_file(cfg.MODEL.WEIGHTS, "MODEL.WEIGHTS =")
    content = read_checkpoint(cfg.MODEL.WEIGHTS)
    check_network(cfg, content)
    return content


def build_evaluation_cfg(cfg: CfgNode, images: str) -> CfgNode:
    """Returns a copy whose OUTPUT_DIR is this evaluation's own, below the run's.

    Its name says the weights, what is done to the features, and a hash of the weights, the
    configuration and the test images: a run's results stay as training wrote them.
    """
    weights = Path(cfg.MODEL.WEIGHTS)
    ways = ("FLIP", "AQE", "RERANK")
    words = [weights.stem, *(way.lower() for way in ways if cfg.TEST[way].ENABLED)]
    identity = f"{file_sha256(weights)} {config_hash(cfg)} {images}".encode()
    words.append(hashlib.sha256(identity).hexdigest()[:8])
    return changed_cfg(cfg, {"OUTPUT_DIR": str(Path(cfg.OUTPUT_DIR, EVALUATIONS, "-".join(words)))})
