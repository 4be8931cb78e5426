"""Rules a configuration must keep; each broken one is a sentence, before any data is read."""

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.config import get_cfg as get_fastreid_cfg

from wrimnet.config.defaults import get_key, leaf_names
from wrimnet.config.keys import KEYS

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
    "DATALOADER.SAMPLER_TRAIN": "DATALOADER.NUM_INSTANCE; batches hold 2 x P x K images",
    "TEST.METRIC": "nothing: similarity is the cosine",
}


def check_config(cfg: CfgNode) -> None:
    """Raises ValueError, in one sentence, for the first rule that ``cfg`` breaks."""
    check_fastreid_keys(cfg)
    check_choices(cfg)
    check_ranges(cfg)
    check_schedule(cfg)
    check_batch(cfg)
    check_acceleration(cfg)
    check_miim(cfg)
    check_feature_rows(cfg)


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


def check_choices(cfg: CfgNode) -> None:
    """Raises ValueError if a key with a list of allowed values has another value."""
    for key in KEYS:
        value = get_key(cfg, key.name)
        if key.choices and value not in key.choices:
            raise ValueError(f"{key.name} = {value!r}: expected one of {list(key.choices)}")


_AT_LEAST = {
    "SOLVER.IMS_PER_BATCH": 1,
    "SOLVER.ACCUMULATION_STEPS": 1,
    "SOLVER.MAX_EPOCH": 1,
    "SOLVER.ITERS_PER_EPOCH": 0,
    "SOLVER.LOG_PERIOD": 1,
    "SOLVER.CHECKPOINT_PERIOD": 0,
    "SOLVER.CHECKPOINT_ITERS": 0,
    "SOLVER.CHECKPOINT_MINUTES": 0,
    "SOLVER.KEEP_CHECKPOINTS": 1,
    "SOLVER.DISTRIBUTED.TIMEOUT_SECONDS": 1,
    "SOLVER.WARMUP_ITERS": 0,
    "SOLVER.BASE_LR": 0,
    "SOLVER.WEIGHT_DECAY": 0,
    "DATALOADER.NUM_INSTANCE": 1,
    "DATALOADER.NUM_WORKERS": 1,
    "DATALOADER.PREFETCH": 1,
    "TEST.IMS_PER_BATCH": 1,
    "TEST.EVAL_PERIOD": 0,
    "TEST.NUM_TRIALS": 1,
    "MODEL.HEADS.NUM_CLASSES": 0,
    "MODEL.WRIM.MAIN.STRIPES": 0,
    "MODEL.WRIM.AUXILIARY.STRIPES": 0,
    "MODEL.WRIM.AUXILIARY.WEIGHT": 0,
    "MODEL.WRIM.CMKIC.WEIGHT": 0,
    "MODEL.WRIM.CMKIC.TOP_K": 1,
    "MODEL.WRIM.CMKIC.EMBEDDING_DIM": 1,
    "MODEL.WRIM.TRIPLET.WEIGHT": 0,
    "MODEL.WRIM.TRIPLET.MARGIN": 0,
    "MODEL.WRIM.CLASSIFICATION.WEIGHT": 0,
    "MODEL.WRIM.MIIM.NUM_HEADS": 1,
    "MODEL.WRIM.MIIM.REGION_SIZE": 1,
    "SEED": 0,
}
_PROBABILITIES = ("INPUT.FLIP.PROB", "INPUT.REA.PROB", "INPUT.GRAYSCALE.PROB")


def check_ranges(cfg: CfgNode) -> None:
    """Raises ValueError if a number lies outside its range."""
    for name, least in _AT_LEAST.items():
        if get_key(cfg, name) < least:
            raise ValueError(f"{name} = {get_key(cfg, name)}: expected at least {least}")
    for name in _PROBABILITIES:
        if not 0 <= get_key(cfg, name) <= 1:
            raise ValueError(f"{name} = {get_key(cfg, name)}: expected a probability in [0, 1]")
    if cfg.MODEL.WRIM.CMKIC.TEMPERATURE <= 0:
        value = cfg.MODEL.WRIM.CMKIC.TEMPERATURE
        raise ValueError(f"MODEL.WRIM.CMKIC.TEMPERATURE = {value}: expected a positive number")
    if not 0 <= cfg.MODEL.WRIM.CLASSIFICATION.LABEL_SMOOTHING < 1:
        value = cfg.MODEL.WRIM.CLASSIFICATION.LABEL_SMOOTHING
        raise ValueError(f"MODEL.WRIM.CLASSIFICATION.LABEL_SMOOTHING = {value}: not in [0, 1)")
    check_scales(cfg)
    check_pixels(cfg)


def check_scales(cfg: CfgNode) -> None:
    """Raises ValueError if a crop scale or an input size is impossible."""
    scales = cfg.INPUT.MULTISCALE_CROP.SCALES
    if not scales or not all(0 < scale <= 1 for scale in scales):
        raise ValueError(f"INPUT.MULTISCALE_CROP.SCALES = {scales}: expected numbers in (0, 1]")
    for name in ("INPUT.SIZE_TRAIN", "INPUT.SIZE_TEST"):
        size = get_key(cfg, name)
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"{name} = {size}: expected [height, width] in pixels")


def check_pixels(cfg: CfgNode) -> None:
    """Raises ValueError if the normalisation is not one mean and one deviation per channel."""
    mean, std = cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ValueError(
            f"MODEL.PIXEL_MEAN = {mean} and PIXEL_STD = {std}: expected three numbers each, one "
            "per RGB channel, the deviations above 0"
        )


def check_schedule(cfg: CfgNode) -> None:
    """Raises ValueError if the cosine would not go down."""
    solver = cfg.SOLVER
    if solver.SCHED == "CosineAnnealingLR" and not 0 <= solver.ETA_MIN_LR < solver.BASE_LR:
        raise ValueError(
            f"SOLVER.ETA_MIN_LR = {solver.ETA_MIN_LR}: the cosine goes from SOLVER.BASE_LR = "
            f"{solver.BASE_LR} down to it; expected a number from 0 to below BASE_LR"
        )


def check_batch(cfg: CfgNode) -> None:
    """Raises ValueError if the batch is not 2 x P x K with at least two identities."""
    batch, instances = cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_INSTANCE
    if batch % (2 * instances) or batch < 4 * instances:
        raise ValueError(
            f"SOLVER.IMS_PER_BATCH = {batch} is not 2 x P x K with K = DATALOADER.NUM_INSTANCE = "
            f"{instances} and P >= 2 identities; nearest: {_nearest_batch(batch, instances)}"
        )


def check_num_classes(cfg: CfgNode, identities: int) -> None:
    """Raises ValueError if the classifiers have fewer classes than there are training identities.

    On a GPU, the first label beyond them would end the process without a message.
    """
    classes = cfg.MODEL.HEADS.NUM_CLASSES
    if 0 < classes < identities:
        raise ValueError(
            f"MODEL.HEADS.NUM_CLASSES = {classes}, but there are {identities} training identities; "
            "set it to 0, they are counted"
        )


def check_acceleration(cfg: CfgNode) -> None:
    """Raises ValueError if a batch has no such parts, or two ways to save memory collide."""
    parts = cfg.SOLVER.ACCUMULATION_STEPS
    num_pids = cfg.SOLVER.IMS_PER_BATCH // (2 * cfg.DATALOADER.NUM_INSTANCE)
    if num_pids % parts or num_pids < 2 * parts:
        raise ValueError(
            f"SOLVER.ACCUMULATION_STEPS = {parts} does not split the P = {num_pids} identities of "
            "a batch evenly with at least 2 in each part; choose a divisor of P up to P / 2, P = "
            "SOLVER.IMS_PER_BATCH / (2 x DATALOADER.NUM_INSTANCE)"
        )
    if cfg.SOLVER.COMPILE and cfg.SOLVER.ACTIVATION_CHECKPOINTING:
        raise ValueError(
            "SOLVER.COMPILE and SOLVER.ACTIVATION_CHECKPOINTING are both on; the compiler chooses "
            "by itself what to recompute: turn one of them off"
        )


def _nearest_batch(batch: int, instances: int) -> int:
    return max(2, round(batch / (2 * instances))) * 2 * instances


def check_miim(cfg: CfgNode) -> None:
    """Raises ValueError if the stage lists or the per-Block numbers of MIIM do not fit."""
    miim = cfg.MODEL.WRIM.MIIM
    stages = (*miim.SEPARATE_STAGES, *miim.SHARED_STAGES)
    if len(set(stages)) != len(stages) or not set(stages) <= {1, 2, 3, 4}:
        raise ValueError(
            f"MODEL.WRIM.MIIM.SEPARATE_STAGES = {miim.SEPARATE_STAGES} and SHARED_STAGES = "
            f"{miim.SHARED_STAGES}: expected Blocks 1 to 4, each at most once"
        )
    for name in ("REDUCTION", "STRIDE"):
        if len(miim[name]) != 4 or min(miim[name]) < 1:
            raise ValueError(
                f"MODEL.WRIM.MIIM.{name} = {miim[name]}: expected four numbers >= 1, one per Block"
            )


def check_feature_rows(cfg: CfgNode) -> None:
    """Raises ValueError if an input size leaves too small a map for a MIIM or for the stripes."""
    backbone = cfg.MODEL.BACKBONE
    for size_name in ("INPUT.SIZE_TRAIN", "INPUT.SIZE_TEST"):
        maps = _map_sizes(get_key(cfg, size_name), backbone.LAST_STRIDE, backbone.MAX_POOL)
        if min(maps[0]) < 1:
            raise ValueError(
                f"{size_name} = {get_key(cfg, size_name)}: nothing is left of it after the stem; "
                "expected at least 3 pixels a side"
            )
        for stage in (*cfg.MODEL.WRIM.MIIM.SEPARATE_STAGES, *cfg.MODEL.WRIM.MIIM.SHARED_STAGES):
            stride, (rows, columns) = cfg.MODEL.WRIM.MIIM.STRIDE[stage - 1], maps[stage - 1]
            if stride > min(rows, columns):
                raise ValueError(
                    f"MODEL.WRIM.MIIM.STRIDE = {stride} after Block {stage} is larger than its "
                    f"{rows} x {columns} map at {size_name} = {get_key(cfg, size_name)}"
                )
        for level, stage in (("MAIN", 4), ("AUXILIARY", 3)):
            stripes, rows = cfg.MODEL.WRIM[level].STRIPES, maps[stage - 1][0]
            if stripes > rows:
                raise ValueError(
                    f"MODEL.WRIM.{level}.STRIPES = {stripes} stripes do not fit into the {rows} "
                    f"rows of the map at {size_name} = {get_key(cfg, size_name)}"
                )


def _map_sizes(size: list[int], last_stride: int, max_pool: str) -> list[tuple[int, int]]:
    """Rows and columns after Blocks 1..4: stem, then strides 1, 2, 2, last_stride, rounded up."""
    sides = [_stem_side(side, max_pool) for side in size]
    maps = []
    for stride in (1, 2, 2, last_stride):
        sides = [-(-side // stride) for side in sides]
        maps.append((sides[0], sides[1]))
    return maps


def _stem_side(side: int, max_pool: str) -> int:
    after_conv = (side + 1) // 2  # kernel 7, stride 2, padding 3
    if max_pool == "torchvision":
        return (after_conv + 1) // 2  # kernel 3, stride 2, padding 1
    return after_conv // 2  # kernel 3, stride 2, ceil mode; nothing is left of one pixel
