"""Rules a configuration must keep; each broken one is a sentence, before any data is read."""

import math
from collections.abc import Sequence
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.config import get_cfg as get_fastreid_cfg

from wrimnet.config.keys import AUTO, KEYS, Key
from wrimnet.config.tree import get_key, leaf_names
from wrimnet.registries import (
    AUGMENTATION_REGISTRY,
    FUSION_REGISTRY,
    HOOK_REGISTRY,
    MIIM_REGISTRY,
    SAMPLER_REGISTRY,
    SCHEDULE_REGISTRY,
    WRITER_REGISTRY,
    find_metrics,
    find_optimizer,
    find_registered,
    names_of,
)

_INSTEAD = {
    "SOLVER.AMP.ENABLED": "SOLVER.PRECISION (bf16 or fp32)",
    "MODEL.LOSSES.NAME": "the weights under MODEL.WRIM",
    "MODEL.LOSSES.TRI.MARGIN": "MODEL.WRIM.TRIPLET.MARGIN",
    "MODEL.LOSSES.TRI.SCALE": "MODEL.WRIM.TRIPLET.WEIGHT",
    "MODEL.LOSSES.CE.SCALE": "MODEL.WRIM.CLASSIFICATION.WEIGHT",
    "MODEL.LOSSES.CE.EPSILON": "MODEL.WRIM.CLASSIFICATION.LABEL_SMOOTHING",
    "MODEL.HEADS.EMBEDDING_DIM": "MODEL.WRIM.CMKIC.EMBEDDING_DIM",
    "DATASETS.TESTS": "DATASETS.NAMES, whose test set is used, and TEST.PROTOCOLS",
    "DATASETS.COMBINEALL": "DATASETS.SPLIT",
    "INPUT.CROP.ENABLED": "INPUT.MULTISCALE_CROP.ENABLED",
    "INPUT.PADDING.ENABLED": "INPUT.MULTISCALE_CROP.ENABLED",
    "INPUT.REA.VALUE": "MODEL.PIXEL_MEAN, which fills erased boxes",
    "TEST.METRIC": "nothing: similarity is the cosine",
}


def check_config(cfg: CfgNode, plugin_keys: Sequence[Key] = ()) -> None:
    """Raises ValueError, in one sentence, for the first rule that ``cfg`` breaks."""
    check_fastreid_keys(cfg)
    for key in (*KEYS, *plugin_keys):
        check_key(key, get_key(cfg, key.name))
    check_infrared_range(cfg)
    check_schedule(cfg)
    check_multipliers(cfg)
    check_batch(cfg)
    check_acceleration(cfg)
    check_registered(cfg)


def check_fastreid_keys(cfg: CfgNode) -> None:
    """Raises ValueError if a FastReID key that this project does not read was set."""
    defaults = get_fastreid_cfg()
    read = {key.name for key in KEYS}
    for name in leaf_names(defaults):
        if name not in read and get_key(cfg, name) != get_key(defaults, name):
            raise ValueError(
                f"{name} = {get_key(cfg, name)!r}: this FastReID key is not read by WRIM-Net; "
                f"use {_INSTEAD.get(name, 'the keys of train_net.py --help-config')} instead"
            )


def check_key(key: Key, value: Any) -> None:
    """Raises ValueError if a value is not what the row of its key allows."""
    counts = ("n" if value else "0", str(len(value))) if isinstance(value, (list, tuple)) else ()
    if key.several and counts and key.several not in counts:
        raise ValueError(
            f"{key.name} = {value!r}: expected one value or {key.several} of them ({key.meaning})"
        )
    if isinstance(key.allowed, tuple) and value not in key.allowed:
        raise ValueError(f"{key.name} = {value!r}: expected one of {list(key.allowed)}")
    if isinstance(key.allowed, str) and not is_within(value, key.allowed):
        several = isinstance(value, (list, tuple)) and "x" not in key.allowed
        kind = "numbers in " if several else "" if "x" in key.allowed else "a number in "
        raise ValueError(f"{key.name} = {value!r}: expected {kind}{key.allowed} ({key.meaning})")


def is_within(value: Any, allowed: str) -> bool:
    """Says whether a number, or each of a sequence, is finite and in "(0, 1]" or "3 x (0, 1]"."""
    count, _, interval = allowed.rpartition(" x ")
    numbers = value if isinstance(value, (list, tuple)) else [value]
    enough = len(numbers) > 0 if count == "n" else not count or len(numbers) == int(count)
    low, high = (float(end) for end in interval[1:-1].split(","))
    return enough and all(
        math.isfinite(number)
        and (number >= low if interval[0] == "[" else number > low)
        and (number <= high if interval[-1] == "]" else number < high)
        for number in numbers
    )


def check_infrared_range(cfg: CfgNode) -> None:
    """Raises ValueError if INPUT.INFRARED_RANGE is neither (low, high), auto nor ()."""
    value = cfg.INPUT.INFRARED_RANGE
    if value in ((), AUTO):
        return
    is_pair = len(value) == 2 and all(type(number) in (int, float) for number in value)
    if not is_pair or not -math.inf < value[0] < value[1] < math.inf:
        raise ValueError(
            f"INPUT.INFRARED_RANGE = {value!r}: expected (low, high), two numbers with low < high, "
            "such as (7000, 8500) for counts or (10.0, 40.0) for degrees; or auto"
        )


def check_schedule(cfg: CfgNode) -> None:
    """Raises ValueError if the cosine would not go down."""
    solver = cfg.SOLVER
    if solver.SCHED == "CosineAnnealingLR" and not 0 <= solver.ETA_MIN_LR < solver.BASE_LR:
        raise ValueError(
            f"SOLVER.ETA_MIN_LR = {solver.ETA_MIN_LR}: the cosine goes from SOLVER.BASE_LR = "
            f"{solver.BASE_LR} down to it; expected a number from 0 to below BASE_LR"
        )


def check_multipliers(cfg: CfgNode) -> None:
    """Raises ValueError for what is no pair of a pattern and a factor."""
    for pair in cfg.SOLVER.LR_MULTIPLIERS:
        sound = isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)
        if not sound or type(pair[1]) not in (int, float) or not 0 <= pair[1] < math.inf:
            raise ValueError(
                f"SOLVER.LR_MULTIPLIERS has {pair!r}: expected [pattern, factor] with a pattern of "
                "parameter names and a factor from 0, as in ['backbone.*', 0.1]"
            )


def check_plausible(cfg: CfgNode) -> list[str]:
    """Lists settings that are valid but unusual, a clause each."""
    doubts = []
    train, test = ([*cfg.INPUT[name]] for name in ("SIZE_TRAIN", "SIZE_TEST"))
    if train != test:
        doubts.append(f"INPUT.SIZE_TRAIN = {train} and INPUT.SIZE_TEST = {test} differ")
    for name, (height, width) in (("SIZE_TRAIN", train), ("SIZE_TEST", test)):
        if width > height:
            doubts.append(f"INPUT.{name} = {[height, width]} is height, width: wider than high")
    late = [step for step in cfg.SOLVER.STEPS if step >= cfg.SOLVER.MAX_EPOCH]
    if late and cfg.SOLVER.SCHED == "MultiStepLR":
        doubts.append(f"SOLVER.STEPS {late} come after the last of {cfg.SOLVER.MAX_EPOCH} epochs")
    return doubts


def check_batch(cfg: CfgNode, num_processes: int = 1) -> None:
    """Raises ValueError if a batch is not 2 x P x K, or cannot be shared evenly by the processes.

    Each share of the P identities is trained in SOLVER.ACCUMULATION_STEPS parts of at least two.
    """
    batch, instances = cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_INSTANCE
    if batch % (2 * instances) or batch < 4 * instances:
        nearest = max(2, round(batch / (2 * instances))) * 2 * instances
        raise ValueError(
            f"SOLVER.IMS_PER_BATCH = {batch} is not 2 x P x K with K = DATALOADER.NUM_INSTANCE = "
            f"{instances} and P >= 2 identities; nearest: {nearest}"
        )
    num_pids, parts = batch // (2 * instances), cfg.SOLVER.ACCUMULATION_STEPS
    if num_pids % parts or num_pids < 2 * parts:
        raise ValueError(
            f"SOLVER.ACCUMULATION_STEPS = {parts} does not split the P = {num_pids} identities of "
            "a batch evenly with at least 2 in each part; choose a divisor of P up to P / 2, P = "
            "SOLVER.IMS_PER_BATCH / (2 x DATALOADER.NUM_INSTANCE)"
        )
    if num_pids % (num_processes * parts):
        raise ValueError(
            f"the P = {num_pids} identities of a batch (SOLVER.IMS_PER_BATCH / (2 x DATALOADER."
            f"NUM_INSTANCE)) cannot be shared evenly by {num_processes} processes in {parts} parts "
            "each (SOLVER.ACCUMULATION_STEPS); start a number of processes that divides P"
        )


def check_num_classes(cfg: CfgNode, identities: int) -> None:
    """Raises ValueError if the classifiers have fewer classes than there are training identities.

    On a GPU, the first label beyond them would end the process without a message.
    """
    classes = cfg.MODEL.HEADS.NUM_CLASSES
    if 0 < classes < identities:
        raise ValueError(
            f"MODEL.HEADS.NUM_CLASSES = {classes}, but there are {identities} training identities; "
            "set it to 0 to count them from the data"
        )


def check_acceleration(cfg: CfgNode) -> None:
    """Raises ValueError if two ways to save memory collide."""
    if cfg.SOLVER.COMPILE == "always" and cfg.SOLVER.ACTIVATION_CHECKPOINTING:
        raise ValueError(
            "SOLVER.COMPILE is always and SOLVER.ACTIVATION_CHECKPOINTING on; the compiler chooses "
            "by itself what to recompute: turn one of them off"
        )


def check_registered(cfg: CfgNode) -> None:
    """Raises ValueError for a name that nothing is registered by, or a rule of what is.

    What is registered has rules of its own by an attribute ``check_config``, a function of the
    configuration.
    """
    # imported here: they bring torchvision's models, seconds that no process of a pool should pay
    from fastreid.modeling.backbones import BACKBONE_REGISTRY
    from fastreid.modeling.heads.build import REID_HEADS_REGISTRY
    from fastreid.modeling.meta_arch import META_ARCH_REGISTRY

    values = [
        find_registered(registry, name, key)
        for registry, key in (
            (META_ARCH_REGISTRY, "MODEL.META_ARCHITECTURE"),
            (BACKBONE_REGISTRY, "MODEL.BACKBONE.NAME"),
            (REID_HEADS_REGISTRY, "MODEL.HEADS.NAME"),
            (MIIM_REGISTRY, "MODEL.WRIM.MIIM.NAME"),
            (FUSION_REGISTRY, "MODEL.WRIM.MIIM.FUSION"),
            (AUGMENTATION_REGISTRY, "INPUT.AUGMENTATION"),
            (SCHEDULE_REGISTRY, "SOLVER.SCHED"),
            (HOOK_REGISTRY, "HOOKS"),
            (WRITER_REGISTRY, "WRITERS"),
            (SAMPLER_REGISTRY, "DATALOADER.SAMPLER_TRAIN"),
        )
        for name in names_of(get_key(cfg, key))
    ]
    find_metrics(cfg.TEST.METRICS)
    find_optimizer(cfg.SOLVER.OPT)
    for registered in values:
        getattr(registered, "check_config", _no_rules)(cfg)


def _no_rules(cfg: CfgNode) -> None:
    """What has no rule of its own."""
