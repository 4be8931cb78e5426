"""Every configuration key this project reads: name, default, meaning, paper symbol, allowed values.

The table is the only place a key is declared: its range, its choices and whether it belongs to the
hash of a configuration stand in its row. A FastReID key that is not listed here is not read, and
setting it is an error (:mod:`wrimnet.config.check`). A plugin adds rows of its own by a function
``add_config()`` that returns them.
"""

from typing import Any, NamedTuple

from wrimnet.metrics.names import PRINTED

# Intervals that many keys share; every number is finite.
ANY, NOT_NEGATIVE, POSITIVE = "[-1e6, 1e6]", "[0, 1e6]", "(0, 1e6]"
SHARE, FEW, COUNT, COUNT_OR_NONE = "[0, 1]", "[1, 1000]", "[1, 1e9]", "[0, 1e9]"

# Whether a key is part of the hash of a configuration. NEVER: where and how a run happens, not what
# it computes. IF_SET: younger than the first hashes, which stay what they were.
ALWAYS, NEVER, IF_SET = "always", "never", "if set"
AUTO = ("auto",)
WORDS = {"INPUT.INFRARED_RANGE auto": AUTO}  # for sequences
# How the hash of a configuration has some values.
HASHED_VALUES = {
    **{f"SOLVER.COMPILE {w}": w == "always" for w in ("auto", "never", "always")},
    "DATALOADER.SAMPLER_TRAIN cross_modality": "TrainingSampler",
}
# Keys that are hashed IF_SET and whose default has changed: the value that the hash leaves out.
FIRST_DEFAULTS = {"MODEL.WRIM.MIIM.NORM": "none"}


# What is tested on by DATASETS.SPLIT, in words.
TESTED_ON = {"trainval": "test set", "train": "held-out identities"}


class Key(NamedTuple):
    """One configuration key: dotted name, default and thereby type, meaning with unit and symbol.

    ``allowed`` are the values; or the interval of a number, or of each number of a sequence:
    "[0, 1)", "2 x [1, 9]" for two of them, "n x [1, 9]" for at least one; None for any.
    Weights may be tested with any value of a key that is ``test_only``.
    """

    name: str
    default: Any
    meaning: str
    allowed: tuple[Any, ...] | str | None = None
    hashed: str = ALWAYS
    several: str = ""
    test_only: bool = False


def _under(group: str, *keys: Key) -> tuple[Key, ...]:
    return tuple(key._replace(name=f"{group}.{key.name}") for key in keys)


KEYS = (
    *_under(
        "MODEL",
        Key("DEVICE", "auto", "auto (cuda where there is one), cpu, cuda or cuda:N", None, NEVER),
        Key("META_ARCHITECTURE", "WRIMNet", "registered meta-architecture"),
        Key("WEIGHTS", "", "checkpoint to evaluate, or to start training from", None, NEVER),
        Key(
            "WEIGHTS_STRICT",
            True,
            "refuse weights that do not fit; False: load matching ones",
            None,
            NEVER,
        ),
        Key("PIXEL_MEAN", [123.675, 116.28, 103.53], "mean per RGB channel", "3 x [0, 255]"),
        Key(
            "PIXEL_STD",
            [58.395, 57.12, 57.375],
            "standard deviation per RGB channel",
            "3 x (0, 1e6]",
        ),
    ),
    *_under(
        "MODEL.BACKBONE",
        Key("NAME", "build_wrim_resnet_backbone", "registered backbone builder"),
        Key("DEPTH", "50x", "ResNet depth", ("18x", "34x", "50x", "101x")),
        Key("ARCHITECTURE", "resnet50", "network of torchvision or timm, by name", None, IF_SET),
        Key("STAGES", (), "module names of its four Blocks; () for known networks", None, IF_SET),
        Key("WITH_IBN", False, "build_resnet_backbone: IBN-a layers"),
        Key("WITH_SE", False, "build_resnet_backbone: squeeze and excitation"),
        Key("LAST_STRIDE", 1, "stride of Block 4", (1, 2)),
        Key(
            "MAX_POOL",
            "fastreid",
            "stem pooling: fastreid (3, 2, ceil mode, no padding) or torchvision (3, 2, padding 1)",
            ("fastreid", "torchvision"),
        ),
        Key("PRETRAIN", True, "start from ImageNet weights"),
        Key("PRETRAIN_PATH", "", "local file of ImageNet weights; '' downloads them", None, NEVER),
    ),
    *_under(
        "MODEL.HEADS",
        Key("NAME", "AICLHead", "registered head"),
        Key("NUM_CLASSES", 0, "training identities; 0: counted from data", COUNT_OR_NONE, NEVER),
    ),
    *_under(
        "MODEL.WRIM.MIIM",
        Key("NAME", "MIIM", "registered block; or four, by Block", None, IF_SET, "4"),
        Key("SEPARATE_STAGES", (1, 2), "Blocks followed by one MIIM per modality", "[1, 4]"),
        Key("SHARED_STAGES", (3, 4), "Blocks followed by one MIIM for both modalities", "[1, 4]"),
        Key("FUSION", "sigmoid", "registered fusion of F0, F5: sigmoid, multiply, add (Table S3)"),
        Key("REDUCTION", (2, 2, 4, 4), "r, channel compression after each Block", "4 x [1, 1e9]"),
        Key("STRIDE", (4, 2, 1, 1), "s, spatial compression after each Block", "4 x [1, 1e9]"),
        Key("NUM_HEADS", 8, "attention heads of GRI; or four, by Block", COUNT, ALWAYS, "4"),
        Key("REGION_SIZE", 3, "g, side of a pooled region in tokens", COUNT),
        Key("RESIDUAL", False, "GRI adds its tokens to its output"),
        Key(
            "NORM",
            "entrance",
            "batch normalization without affine parameters: at the entrance, at the gate",
            ("none", "entrance", "gate", "both"),
            IF_SET,
        ),
        Key("GATE_SCALE", 1.0, "factor of the sigmoid gate", POSITIVE, IF_SET),
    ),
    *_under(
        "MODEL.WRIM.MAIN",
        Key("STRIPES", 2, "N, horizontal stripes of the main level (RegDB 6)", COUNT_OR_NONE),
    ),
    *_under(
        "MODEL.WRIM.AUXILIARY",
        Key("ENABLED", True, "use the level after Block 3 (P3; P_4 in Eqs. 2-3)"),
        Key("STRIPES", 0, "M, stripes of the auxiliary level (RegDB 2)", COUNT_OR_NONE),
        Key("WEIGHT", 0.1, "lambda2, weight of the auxiliary level's losses", NOT_NEGATIVE),
    ),
    *_under(
        "MODEL.WRIM.CMKIC",
        Key("WEIGHT", 0.5, "lambda1, weight of CMKIC", NOT_NEGATIVE),
        Key("TEMPERATURE", 0.07, "tau", POSITIVE),
        Key("TOP_K", 4, "K, hardest positives per anchor (SYSU-MM01 8)", COUNT),
        Key("REDUCTION", "mean", "reduction over the anchors", ("mean", "sum")),
        Key("EMBEDDING_DIM", 128, "outputs of each level's projection head", COUNT),
    ),
    *_under(
        "MODEL.WRIM.TRIPLET",
        Key("WEIGHT", 1.0, "weight of the triplet loss at each level", NOT_NEGATIVE),
        Key("MARGIN", 0.3, "alpha", NOT_NEGATIVE),
        Key("SOFT_MARGIN", False, "log(1 + exp(d_p - d_n)) instead of a margin", None, IF_SET),
        Key("UNIT_LENGTH", False, "distances between L2-normalized features", None, IF_SET),
    ),
    *_under(
        "MODEL.WRIM.CLASSIFICATION",
        Key("WEIGHT", 1.0, "weight of partitioned classification", NOT_NEGATIVE),
        Key("LABEL_SMOOTHING", 0.0, "label smoothing, below 1; Eq. 2 has none", "[0, 1)"),
    ),
    *_under(
        "MODEL.WRIM",
        Key("EMBEDDING_PARTS", ("global", "stripes", "auxiliary"), "what is in the test embedding"),
    ),
    *_under(
        "INPUT",
        Key("SIZE_TRAIN", [384, 144], "height, width in pixels", "2 x [1, 16384]"),
        Key("SIZE_TEST", [384, 144], "height, width in pixels", "2 x [1, 16384]"),
        Key(
            "INTERPOLATION",
            "bicubic",
            "PIL filter of the resize to the input size",
            ("nearest", "bilinear", "bicubic", "lanczos"),
        ),
        Key(
            "INFRARED_RANGE",
            (),
            "(low, high): infrared pixels of more than 8 bits, counts or degrees, that become gray "
            "0 and 255; auto: 0.1 and 99.9 percentile of the training images",
            None,
            IF_SET,
        ),
        Key("MEASURED_RANGE", (), "range that auto measured; written by training", None, NEVER),
        Key(
            "AUGMENTATION",
            "build_batch_augmentation",
            "registered augmentation; or several, one after another, such as [default, Yours]",
            None,
            IF_SET,
            "n",
        ),
    ),
    *_under(
        "INPUT.MULTISCALE_CROP",
        Key("ENABLED", True, "random window, resized back to the input size"),
        Key("SCALES", (1.0, 0.875, 0.75), "side of the window / side of input", "n x (0, 1]"),
    ),
    *_under(
        "INPUT.FLIP",
        Key("ENABLED", True, "random horizontal flip"),
        Key("PROB", 0.5, "its probability", SHARE),
    ),
    *_under(
        "INPUT.REA",
        Key("ENABLED", True, "random erasing, filled with the pixel mean"),
        Key("PROB", 0.5, "its probability", SHARE),
        Key("AREA", (0.02, 0.4), "erased area / image area, from and to", "2 x (0, 1]"),
        Key("ASPECT", (0.3, 3.3), "height / width of the erased box, from and to", "2 x (0, 1e6]"),
    ),
    *_under(
        "INPUT.GRAYSCALE",
        Key("ENABLED", True, "random grayscale of visible images"),
        Key("PROB", 0.5, "its probability", SHARE),
    ),
    *_under(
        "DATASETS",
        Key("NAMES", ("LLCM",), "exactly one: LLCM, RegDB, SYSU-MM01 or one of your own"),
        Key("ROOT", "", "the datasets' folder; '': FASTREID_DATASETS, else datasets/", None, NEVER),
        Key("REGDB_TRIAL", 1, "RegDB trial 1..10", "[1, 10]"),
        Key("SPLIT", "trainval", "train: tested on held-out identities", tuple(TESTED_ON)),
    ),
    *_under(
        "DATALOADER",
        Key("SAMPLER_TRAIN", "cross_modality", "registered sampler of training batches"),
        Key("NUM_INSTANCE", 8, "images per identity and modality in a batch", COUNT),
        Key("NUM_WORKERS", 4, "threads that decode, processes that build the cache", FEW, NEVER),
        Key("CACHE", "disk", "where resized images are cached", ("none", "disk", "ram", "gpu")),
        Key("CACHE_DIR", "", "folder of the cache; '': .cache beside the datasets", None, NEVER),
        Key("PREFETCH", 3, "batches prefetched", FEW, NEVER),
        Key("TIMEOUT", 30.0, "seconds until a stalled read is an error", POSITIVE, NEVER),
        Key("ON_BAD_IMAGE", "error", "unreadable image: error or skip", ("error", "skip")),
    ),
    *_under(
        "SOLVER",
        Key("OPT", "Adam", "optimizer: a class of torch.optim, or a registered builder"),
        Key("BASE_LR", 3.5e-4, "initial learning rate", NOT_NEGATIVE),
        Key("HEADS_LR_FACTOR", 1.0, "learning rate of the head / BASE_LR", NOT_NEGATIVE),
        Key(
            "LR_MULTIPLIERS",
            (),
            "[[pattern, factor], ...]: learning-rate factors of the parameters whose names match "
            "the pattern, as in ['backbone.*', 0.1]",
            None,
            IF_SET,
        ),
        Key("BIAS_LR_FACTOR", 1.0, "learning rate of biases / BASE_LR", NOT_NEGATIVE),
        Key("MOMENTUM", 0.9, "of SGD", "[0, 1)"),
        Key("NESTEROV", False, "of SGD"),
        Key("WEIGHT_DECAY", 5e-4, "weight decay of all parameters", NOT_NEGATIVE),
        Key(
            "WEIGHT_DECAY_NORM",
            -1.0,
            "weight decay of normalization layers; negative: WEIGHT_DECAY",
            ANY,
        ),
        Key("WEIGHT_DECAY_BIAS", -1.0, "weight decay of biases; negative: WEIGHT_DECAY", ANY),
        Key("SCHED", "MultiStepLR", "registered schedule, such as CosineAnnealingLR"),
        Key(
            "STEPS",
            [80, 120],
            "epochs, from 0, at which the learning rate is multiplied by GAMMA",
            COUNT_OR_NONE,
        ),
        Key("GAMMA", 0.1, "factor at each of STEPS", POSITIVE),
        Key(
            "DELAY_EPOCHS",
            0,
            "epochs at the full learning rate before the cosine begins",
            COUNT_OR_NONE,
        ),
        Key("ETA_MIN_LR", 1e-7, "last learning rate of the cosine", NOT_NEGATIVE),
        Key("WARMUP_ITERS", 0, "iterations of warm-up", COUNT_OR_NONE),
        Key("WARMUP_FACTOR", 0.1, "first learning rate of the warm-up / BASE_LR", SHARE),
        Key("WARMUP_METHOD", "linear", "shape of the warm-up", ("linear", "constant")),
        Key("MAX_EPOCH", 140, "epochs", COUNT),
        Key("ITERS_PER_EPOCH", 0, "iterations of an epoch; 0: images // batch", COUNT_OR_NONE),
        Key("IMS_PER_BATCH", 128, "images of a batch, 2 x P x NUM_INSTANCE", COUNT),
        Key(
            "PRECISION", "bf16", "precision of the forward pass; losses stay fp32", ("fp32", "bf16")
        ),
        Key("ACCUMULATION_STEPS", 1, "parts that a batch is split into, by identities", COUNT),
        Key("SYNC_BN", True, "with several processes: batch normalization over the whole batch"),
    ),
    *_under(
        "SOLVER.DISTRIBUTED",
        Key(
            "TIMEOUT_SECONDS", 1800.0, "how long a process waits for the others", "[1, 1e6]", NEVER
        ),
    ),
    *_under(
        "SOLVER",
        Key("COMPILE", "auto", "torch.compile; auto: on one GPU", ("auto", "always", "never")),
        Key("ACTIVATION_CHECKPOINTING", False, "recompute each Block: less memory, more time"),
        Key("CHANNELS_LAST", True, "memory format of weights and feature maps: NHWC"),
    ),
    *_under(
        "SOLVER.CLIP_GRADIENTS",
        Key("ENABLED", False, "clip the gradient's norm"),
        Key("CLIP_VALUE", 5.0, "largest norm", POSITIVE),
        Key("NORM_TYPE", 2.0, "order of the norm", FEW),
    ),
    *_under(
        "SOLVER",
        Key(
            "CHECKPOINT_PERIOD",
            20,
            "epochs between saves; 0: only at the end",
            COUNT_OR_NONE,
            NEVER,
        ),
        Key("CHECKPOINT_ITERS", 0, "iterations between saves; 0: never", COUNT_OR_NONE, NEVER),
        Key("CHECKPOINT_MINUTES", 0.0, "minutes between saves; 0: never", NOT_NEGATIVE, NEVER),
        Key("KEEP_CHECKPOINTS", 2, "number of full checkpoints kept", COUNT, NEVER),
        Key("LOG_PERIOD", 20, "iterations between log lines, which have means", COUNT, NEVER),
    ),
    *_under(
        "TEST",
        Key("PROTOCOLS", (), "evaluation protocols; () = the dataset's defaults"),
        Key(
            "METRICS",
            PRINTED,
            "metrics of every table: Rank-k, mAP, mINP, registered ones",
            None,
            IF_SET,
        ),
        Key("GALLERY_DRAW", "agw", "how SYSU-MM01's gallery is sampled", ("agw", "official")),
        Key("PERM_FILE", "", "rand_perm_cam.mat; '': in exp/ of the dataset", None, NEVER),
        Key("NUM_TRIALS", 10, "random galleries, trials", COUNT),
        Key("UNIQUE_IDS", False, "RegDB: CMC on identities instead of images"),
        Key("EVAL_PERIOD", 20, "epochs between evaluations; 0: only at the end", COUNT_OR_NONE),
        Key("IMS_PER_BATCH", 128, "images of a test batch", COUNT),
        Key("MEMORY_GB", 4.0, "largest similarity block, 10^9 bytes", POSITIVE, NEVER),
    ),
    *_under("TEST.FLIP", Key("ENABLED", False, "average with the mirrored image")),
    *_under(
        "TEST.RERANK",
        Key("ENABLED", False, "k-reciprocal re-ranking"),
        Key("K1", 20, "reciprocal neighbors", COUNT),
        Key("K2", 6, "neighbors of the local expansion", COUNT),
        Key("LAMBDA", 0.3, "weight of the original distance", SHARE),
        Key("GALLERY_NEIGHBORS", True, "False: only queries are neighbors", None, IF_SET),
    ),
    *_under(
        "TEST.AQE",
        Key("ENABLED", False, "average query expansion"),
        Key("ALPHA", 3.0, "exponent of the similarity weights", NOT_NEGATIVE),
        Key("QE_TIME", 1, "rounds", FEW),
        Key("QE_K", 5, "neighbors", COUNT),
    ),
    *_under(
        "TEST",
        Key(
            "ALLOW_SEEN_IDENTITIES",
            False,
            "evaluate identities that the weights were trained on; results record it",
            None,
            IF_SET,
        ),
        Key(
            "EXPECTED_RESULTS",
            [],
            "[[protocol, metric, value, tolerance], ...]; exit code 1 for other results",
            None,
            NEVER,
        ),
    ),
    Key("PLUGINS", (), "modules of your own; files and command line add to it", None, NEVER),
    Key("HOOKS", (), "registered hooks, run before the trainer's own", None, IF_SET),
    Key("WRITERS", (), "registered writers of the log's values", None, NEVER),
    Key("OUTPUT_DIR", "logs/wrim", "folder of checkpoints, logs and results", None, NEVER),
    Key("SEED", 0, "seed of all random numbers", "[0, 9223372036854775807]"),
    Key("DETERMINISTIC", False, "deterministic algorithms only, cudnn.benchmark off"),
    Key("CUDNN_BENCHMARK", True, "let cuDNN choose its algorithms by timing"),
)
