"""Every configuration key this project reads: name, default, meaning, paper symbol, allowed values.

The table is the only place a key is declared. A FastReID key that is not listed here is not read,
and setting it is an error (:mod:`wrimnet.config.check`).
"""

from typing import Any, NamedTuple


class Key(NamedTuple):
    """One configuration key.

    Args:
        name: dotted path.
        default: value and thereby the type.
        meaning: one line with unit and paper symbol.
        choices: allowed values, empty where any value of the type may stand.
    """

    name: str
    default: Any
    meaning: str
    choices: tuple[Any, ...] = ()


MODEL_KEYS = (
    Key("MODEL.DEVICE", "auto", "auto (cuda where there is one, else cpu), cpu, cuda or cuda:N"),
    Key("MODEL.META_ARCHITECTURE", "WRIMNet", "registered meta-architecture", ("WRIMNet",)),
    Key("MODEL.WEIGHTS", "", "checkpoint to evaluate, or to start training from"),
    Key("MODEL.PIXEL_MEAN", [123.675, 116.28, 103.53], "mean per RGB channel, pixel units 0..255"),
    Key("MODEL.PIXEL_STD", [58.395, 57.12, 57.375], "deviation per RGB channel, pixel units"),
    Key("MODEL.BACKBONE.NAME", "build_wrim_resnet_backbone", "registered backbone builder"),
    Key("MODEL.BACKBONE.DEPTH", "50x", "ResNet depth", ("18x", "34x", "50x", "101x")),
    Key("MODEL.BACKBONE.LAST_STRIDE", 1, "stride of Block 4", (1, 2)),
    Key(
        "MODEL.BACKBONE.MAX_POOL",
        "fastreid",
        "stem pooling: fastreid (3, 2, ceil mode, no padding) or torchvision (3, 2, padding 1)",
        ("fastreid", "torchvision"),
    ),
    Key("MODEL.BACKBONE.PRETRAIN", True, "start from ImageNet weights"),
    Key("MODEL.BACKBONE.PRETRAIN_PATH", "", "local file of ImageNet weights; '' downloads them"),
    Key("MODEL.HEADS.NAME", "AICLHead", "registered head"),
    Key("MODEL.HEADS.NUM_CLASSES", 0, "training identities; 0: counted from the dataset"),
)

WRIM_KEYS = (
    Key("MODEL.WRIM.MIIM.SEPARATE_STAGES", (1, 2), "Blocks followed by one MIIM per modality"),
    Key("MODEL.WRIM.MIIM.SHARED_STAGES", (3, 4), "Blocks followed by one MIIM for both modalities"),
    Key(
        "MODEL.WRIM.MIIM.FUSION",
        "sigmoid",
        "how F5 meets F0 (Table S3)",
        ("sigmoid", "multiply", "add"),
    ),
    Key("MODEL.WRIM.MIIM.REDUCTION", (2, 2, 4, 4), "r, channel compression after each Block"),
    Key("MODEL.WRIM.MIIM.STRIDE", (4, 2, 1, 1), "s, spatial compression after each Block"),
    Key("MODEL.WRIM.MIIM.NUM_HEADS", 8, "attention heads of GRI"),
    Key("MODEL.WRIM.MIIM.REGION_SIZE", 3, "g, side of a pooled region in tokens"),
    Key("MODEL.WRIM.MIIM.RESIDUAL", False, "GRI adds its tokens to its output"),
    Key("MODEL.WRIM.MAIN.STRIPES", 2, "N, horizontal stripes of the main level (RegDB 6)"),
    Key("MODEL.WRIM.AUXILIARY.ENABLED", True, "use the level after Block 3 (P3; P_4 in Eqs. 2-3)"),
    Key("MODEL.WRIM.AUXILIARY.STRIPES", 0, "M, stripes of the auxiliary level (RegDB 2)"),
    Key("MODEL.WRIM.AUXILIARY.WEIGHT", 0.1, "lambda2, weight of the auxiliary level's losses"),
    Key("MODEL.WRIM.CMKIC.WEIGHT", 0.5, "lambda1, weight of CMKIC"),
    Key("MODEL.WRIM.CMKIC.TEMPERATURE", 0.07, "tau"),
    Key("MODEL.WRIM.CMKIC.TOP_K", 4, "K, hardest positives per anchor (SYSU-MM01 8)"),
    Key("MODEL.WRIM.CMKIC.REDUCTION", "mean", "over the anchors", ("mean", "sum")),
    Key("MODEL.WRIM.CMKIC.EMBEDDING_DIM", 128, "outputs of each level's projection head"),
    Key("MODEL.WRIM.TRIPLET.WEIGHT", 1.0, "weight of the triplet loss at each level"),
    Key("MODEL.WRIM.TRIPLET.MARGIN", 0.3, "alpha"),
    Key("MODEL.WRIM.CLASSIFICATION.WEIGHT", 1.0, "weight of partitioned classification"),
    Key("MODEL.WRIM.CLASSIFICATION.LABEL_SMOOTHING", 0.0, "in [0, 1); Eq. 2 has none"),
    Key(
        "MODEL.WRIM.EMBEDDING_PARTS",
        ("global", "stripes", "auxiliary"),
        "groups of features in the test embedding",
    ),
)

INPUT_KEYS = (
    Key("INPUT.SIZE_TRAIN", [384, 144], "height, width in pixels"),
    Key("INPUT.SIZE_TEST", [384, 144], "height, width in pixels"),
    Key(
        "INPUT.INTERPOLATION",
        "bicubic",
        "PIL filter of the resize to the input size",
        ("nearest", "bilinear", "bicubic", "lanczos"),
    ),
    Key("INPUT.MULTISCALE_CROP.ENABLED", True, "random window, resized back to the input size"),
    Key("INPUT.MULTISCALE_CROP.SCALES", (1.0, 0.875, 0.75), "side of the window / side of input"),
    Key("INPUT.FLIP.ENABLED", True, "random horizontal flip"),
    Key("INPUT.FLIP.PROB", 0.5, "its probability"),
    Key("INPUT.REA.ENABLED", True, "random erasing, filled with the pixel mean"),
    Key("INPUT.REA.PROB", 0.5, "its probability"),
    Key("INPUT.REA.AREA", (0.02, 0.4), "erased area / image area, from and to"),
    Key("INPUT.REA.ASPECT", (0.3, 3.3), "height / width of the erased box, from and to"),
    Key("INPUT.GRAYSCALE.ENABLED", True, "random grayscale of visible images"),
    Key("INPUT.GRAYSCALE.PROB", 0.5, "its probability"),
)

DATA_KEYS = (
    Key("DATASETS.NAMES", ("LLCM",), "exactly one of LLCM, RegDB, SYSU_MM01"),
    Key("DATASETS.ROOT", "", "folder of the datasets; '': FASTREID_DATASETS, else datasets/"),
    Key("DATASETS.REGDB_TRIAL", 1, "RegDB split 1..10"),
    Key(
        "DATASETS.SPLIT",
        "trainval",
        "trainval: test set; train: identities held out of training",
        ("trainval", "train"),
    ),
    Key("DATALOADER.NUM_INSTANCE", 8, "images per identity and modality in a batch"),
    Key("DATALOADER.NUM_WORKERS", 4, "threads that decode images, processes that build the cache"),
    Key(
        "DATALOADER.CACHE",
        "disk",
        "where decoded, resized images are kept",
        ("none", "disk", "ram", "gpu"),
    ),
    Key("DATALOADER.CACHE_DIR", "", "folder of the disk cache; '': .cache beside the datasets"),
    Key("DATALOADER.PREFETCH", 3, "batches held ready"),
    Key("DATALOADER.TIMEOUT", 30.0, "seconds until a stalled read is an error"),
    Key("DATALOADER.ON_BAD_IMAGE", "error", "unreadable image: error or skip", ("error", "skip")),
)

SOLVER_KEYS = (
    Key("SOLVER.OPT", "Adam", "optimizer", ("Adam", "AdamW", "SGD")),
    Key("SOLVER.BASE_LR", 3.5e-4, "initial learning rate"),
    Key("SOLVER.HEADS_LR_FACTOR", 1.0, "learning rate of the head / BASE_LR"),
    Key("SOLVER.BIAS_LR_FACTOR", 1.0, "learning rate of biases / BASE_LR"),
    Key("SOLVER.MOMENTUM", 0.9, "of SGD"),
    Key("SOLVER.NESTEROV", False, "of SGD"),
    Key("SOLVER.WEIGHT_DECAY", 5e-4, "of all parameters"),
    Key("SOLVER.WEIGHT_DECAY_NORM", -1.0, "of normalisation layers; negative: WEIGHT_DECAY"),
    Key("SOLVER.WEIGHT_DECAY_BIAS", -1.0, "of biases; negative: WEIGHT_DECAY"),
    Key("SOLVER.SCHED", "MultiStepLR", "learning-rate law", ("MultiStepLR", "CosineAnnealingLR")),
    Key("SOLVER.STEPS", [80, 120], "epochs, counted from 0, that start with lr x GAMMA"),
    Key("SOLVER.GAMMA", 0.1, "factor at each of STEPS"),
    Key("SOLVER.DELAY_EPOCHS", 0, "epochs at full rate before the cosine begins"),
    Key("SOLVER.ETA_MIN_LR", 1e-7, "last learning rate of the cosine"),
    Key("SOLVER.WARMUP_ITERS", 0, "iterations of warm-up"),
    Key("SOLVER.WARMUP_FACTOR", 0.1, "learning rate at its start / BASE_LR"),
    Key("SOLVER.WARMUP_METHOD", "linear", "law of the warm-up", ("linear", "constant")),
    Key("SOLVER.MAX_EPOCH", 140, "epochs"),
    Key("SOLVER.ITERS_PER_EPOCH", 0, "iterations of an epoch; 0: training images // batch"),
    Key("SOLVER.IMS_PER_BATCH", 128, "images of a batch, 2 x P x NUM_INSTANCE"),
    Key("SOLVER.PRECISION", "bf16", "of the forward pass; losses stay fp32", ("fp32", "bf16")),
    Key(
        "SOLVER.ACCUMULATION_STEPS",
        1,
        "parts of P / n identities a batch is trained in, one by one",
    ),
    Key("SOLVER.SYNC_BN", True, "with several processes: batch normalisation over the whole batch"),
    Key(
        "SOLVER.DISTRIBUTED.TIMEOUT_SECONDS",
        1800.0,
        "with several processes: how long one waits for the others",
    ),
    Key("SOLVER.COMPILE", False, "torch.compile of backbone, MIIM and losses in training"),
    Key("SOLVER.ACTIVATION_CHECKPOINTING", False, "recompute each Block: less memory, more time"),
    Key("SOLVER.CHANNELS_LAST", True, "memory format of weights and maps: NHWC"),
    Key("SOLVER.CLIP_GRADIENTS.ENABLED", False, "clip the gradient's norm"),
    Key("SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 5.0, "largest norm"),
    Key("SOLVER.CLIP_GRADIENTS.NORM_TYPE", 2.0, "order of the norm"),
    Key("SOLVER.CHECKPOINT_PERIOD", 20, "epochs between checkpoints; 0: only at the end"),
    Key("SOLVER.CHECKPOINT_ITERS", 0, "iterations between checkpoints; 0: by epochs alone"),
    Key("SOLVER.CHECKPOINT_MINUTES", 0.0, "minutes between checkpoints; 0: by epochs alone"),
    Key("SOLVER.KEEP_CHECKPOINTS", 2, "full checkpoints that stay"),
    Key("SOLVER.LOG_PERIOD", 20, "iterations between log lines; losses are means over them"),
)

TEST_KEYS = (
    Key("TEST.PROTOCOLS", (), "evaluation protocols; () = the dataset's defaults"),
    Key("TEST.GALLERY_DRAW", "agw", "SYSU-MM01's gallery draw", ("agw", "official")),
    Key("TEST.PERM_FILE", "", "rand_perm_cam.mat; '': exp/rand_perm_cam.mat of the dataset"),
    Key("TEST.NUM_TRIALS", 10, "gallery draws"),
    Key("TEST.UNIQUE_IDS", False, "RegDB: CMC on identities instead of images"),
    Key("TEST.EVAL_PERIOD", 20, "epochs between evaluations; 0: only at the end"),
    Key("TEST.IMS_PER_BATCH", 128, "images of a test batch"),
    Key("TEST.MEMORY_GB", 4.0, "largest similarity block, 10^9 bytes"),
    Key("TEST.FLIP.ENABLED", False, "average with the mirrored image"),
    Key("TEST.RERANK.ENABLED", False, "k-reciprocal re-ranking"),
    Key("TEST.RERANK.K1", 20, "reciprocal neighbours"),
    Key("TEST.RERANK.K2", 6, "neighbours of the local expansion"),
    Key("TEST.RERANK.LAMBDA", 0.3, "weight of the original distance"),
    Key("TEST.AQE.ENABLED", False, "average query expansion"),
    Key("TEST.AQE.ALPHA", 3.0, "exponent of the similarity weights"),
    Key("TEST.AQE.QE_TIME", 1, "rounds"),
    Key("TEST.AQE.QE_K", 5, "neighbours"),
    Key("TEST.EXPECTED_RESULTS", [], "[[protocol, metric, value, tolerance], ...] as fractions"),
)

RUN_KEYS = (
    Key("OUTPUT_DIR", "logs/wrim", "folder of checkpoints, logs and results"),
    Key("SEED", 0, "of every random draw"),
    Key("DETERMINISTIC", False, "deterministic algorithms only, cudnn.benchmark off"),
    Key("CUDNN_BENCHMARK", True, "let cuDNN choose its algorithms by timing"),
)

KEYS = MODEL_KEYS + WRIM_KEYS + INPUT_KEYS + DATA_KEYS + SOLVER_KEYS + TEST_KEYS + RUN_KEYS
