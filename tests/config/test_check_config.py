"""Rules of a configuration: choices, ranges, batch, MIIM, maps, FastReID's keys."""

import re

import wrimnet.compat  # noqa: F401

import pytest
import torch
from fastreid.config import get_cfg as get_fastreid_cfg
from hypothesis import given, settings
from hypothesis import strategies as st

from wrimnet.config import check_plausible, setup_cfg
from wrimnet.config.check import _INSTEAD, check_fastreid_keys, check_key, is_within
from wrimnet.config.keys import KEYS
from wrimnet.config.tree import get_cfg, get_key, leaf_names, set_key
from wrimnet.modeling.wrim_resnet import WRIMResNet, check_feature_rows, map_sizes

READ = {key.name for key in KEYS}
UNREAD = sorted(set(leaf_names(get_fastreid_cfg())) - READ)
WITH_CHOICES = [key for key in KEYS if isinstance(key.allowed, tuple)]


def setup(*words):
    return setup_cfg("", (), ["MODEL.DEVICE", "cpu", *words])


def another(value):
    """Some value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (list, tuple)):
        return type(value)([*value, "x"])
    return f"{value}x" if isinstance(value, str) else (value or 0) + 1


def test_defaults_keep_every_rule():
    assert check_plausible(setup()) == []


@pytest.mark.parametrize(
    ("words", "doubts"),
    [
        (("INPUT.SIZE_TRAIN", "[256, 128]"), ["SIZE_TRAIN = [256, 128] and INPUT.SIZE_TEST ="]),
        (
            ("INPUT.SIZE_TRAIN", "[128, 256]", "INPUT.SIZE_TEST", "[128, 256]"),
            ["INPUT.SIZE_TRAIN = [128, 256] is height, width", "INPUT.SIZE_TEST = [128, 256] is"],
        ),
        (
            ("SOLVER.MAX_EPOCH", "10", "SOLVER.STEPS", "(5, 10, 12)"),
            ["SOLVER.STEPS [10, 12] come after the last of 10 epochs"],
        ),
    ],
)
def test_what_is_hardly_meant_is_doubted(words, doubts):
    found = check_plausible(setup(*words))
    assert len(found) == len(doubts)
    assert all(part in doubt for part, doubt in zip(doubts, found, strict=True))


@pytest.mark.parametrize("name", UNREAD)
def test_unread_fastreid_key_is_an_error_that_names_what_to_use(name):
    cfg = get_cfg()
    set_key(cfg, name, another(get_key(cfg, name)))
    instead = re.escape(_INSTEAD.get(name, "train_net.py --help-config"))
    pattern = rf"^{re.escape(name)} = .* is not read by WRIM-Net; use .*{instead}"
    with pytest.raises(ValueError, match=pattern):
        check_fastreid_keys(cfg)


@pytest.mark.parametrize("name", _INSTEAD)
def test_key_to_use_instead_exists(name):
    assert name in UNREAD
    mentioned = re.findall(r"[A-Z]+(?:\.[A-Z_]+)+", _INSTEAD[name])
    groups = {key.rpartition(".")[0] for key in READ}
    assert all(key in READ or key in groups for key in mentioned)


@pytest.mark.parametrize("key", WITH_CHOICES, ids=lambda key: key.name)
def test_value_that_is_no_choice_is_refused_and_each_choice_is_accepted(key):
    with pytest.raises(ValueError, match=rf"{key.name} = .*: expected one of \["):
        check_key(key, another(key.allowed[-1]))
    for choice in key.allowed:
        check_key(key, choice)


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        ("[0, 1)", (0, 0.999), (-1e-9, 1, float("nan"), float("inf"))),
        ("(0, 1]", (1e-9, 1), (0, 1.001)),
        ("[1, 4]", ((), (1, 4), [2]), ((0, 1), (1, 5))),
        ("2 x [1, 9]", ([1, 9],), ([1], [1, 2, 3], [1, 10], [])),
        ("n x (0, 1]", ((1.0,), (0.5, 1.0)), ((), (0.5, 0.0))),
    ],
)
def test_interval_of_a_key(allowed, inside, outside):
    assert all(is_within(value, allowed) for value in inside)
    assert not any(is_within(value, allowed) for value in outside)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("SOLVER.MAX_EPOCH", "0"), r"SOLVER.MAX_EPOCH = 0: expected a number in \[1, 1e9\]"),
        (("SOLVER.LOG_PERIOD", "0"), r"SOLVER.LOG_PERIOD = 0: expected a number in \[1, 1e9\]"),
        (("SOLVER.WEIGHT_DECAY", "-1"), r"SOLVER.WEIGHT_DECAY = -1.0: expected a number in \[0, "),
        (("MODEL.WRIM.CMKIC.WEIGHT", "-0.5"), r"CMKIC.WEIGHT = -0.5: expected a number in \[0, "),
        (("MODEL.WRIM.CMKIC.TOP_K", "0"), r"CMKIC.TOP_K = 0: expected a number in \[1, "),
        (("MODEL.WRIM.MAIN.STRIPES", "-1"), r"MAIN.STRIPES = -1: expected a number in \[0, "),
        (("TEST.NUM_TRIALS", "0"), r"TEST.NUM_TRIALS = 0: expected a number in \[1, "),
        (("SEED", str(2**64)), "SEED = 18446744073709551616: expected a number in"),
        (("SEED", "-1"), r"SEED = -1: expected a number in \[0, "),
        (
            ("INPUT.FLIP.PROB", "1.5"),
            r"FLIP.PROB = 1.5: expected a number in \[0, 1\] \(its probability",
        ),
        (("MODEL.WRIM.CMKIC.TEMPERATURE", "0"), r"TEMPERATURE = 0.0: expected a number in \(0, "),
        (
            ("MODEL.WRIM.CLASSIFICATION.LABEL_SMOOTHING", "1"),
            r"LABEL_SMOOTHING = 1.0: .* in \[0, 1\)",
        ),
        (("INPUT.MULTISCALE_CROP.SCALES", "(1.0, 1.5)"), r"SCALES = .*: expected n x \(0, 1\]"),
        (("INPUT.MULTISCALE_CROP.SCALES", "()"), r"SCALES = \(\): expected n x \(0, 1\]"),
        (
            ("INPUT.SIZE_TEST", "[10]"),
            r"SIZE_TEST = \[10\]: expected 2 x .*\(height, width in pixels\)",
        ),
        (
            ("INPUT.SIZE_TRAIN", "[0, 9]"),
            r"SIZE_TRAIN = \[0, 9\]: expected 2 x \[1, .*\(height, width",
        ),
        (
            ("MODEL.PIXEL_MEAN", "[1.0]"),
            r"PIXEL_MEAN = \[1.0\]: expected 3 x .*mean per RGB channel",
        ),
        (
            ("MODEL.PIXEL_STD", "[1, 1, 0]"),
            r"PIXEL_STD = .*: expected 3 x \(0, .*deviation per RGB channel",
        ),
        (("SOLVER.IMS_PER_BATCH", "100"), r"= 100 is not 2 x P x K .* = 8 and P >= 2.*nearest: 96"),
        (("SOLVER.IMS_PER_BATCH", "16"), r"= 16 is not 2 x P x K .*; nearest: 32"),
        (("DATALOADER.NUM_INSTANCE", "7"), r"K = DATALOADER.NUM_INSTANCE = 7 .*nearest: 126"),
        (("MODEL.WRIM.MIIM.SEPARATE_STAGES", "(1, 3)"), "Blocks 1 to 4, each at most once"),
        (
            ("MODEL.WRIM.MIIM.SHARED_STAGES", "(5,)"),
            r"SHARED_STAGES = .* numbers in \[1, 4\] \(Blocks",
        ),
        (("MODEL.WRIM.MIIM.SHARED_STAGES", "(4, 4)"), "Blocks 1 to 4, each at most once"),
        (
            ("MODEL.WRIM.MIIM.STRIDE", "(1, 1, 1)"),
            r"MIIM.STRIDE = .*: expected 4 x \[1, .*after each Block",
        ),
        (("MODEL.WRIM.MIIM.REDUCTION", "(0, 1, 1, 1)"), r"MIIM.REDUCTION = .*: expected 4 x \[1, "),
        (("MODEL.WRIM.MAIN.STRIPES", "25"), "MAIN.STRIPES = 25 stripes do not fit into the 24 row"),
        (("MODEL.WRIM.AUXILIARY.STRIPES", "25"), r"AUXILIARY.STRIPES = 25 .*INPUT.SIZE_TRAIN"),
        (("MODEL.WRIM.MIIM.STRIDE", "(4, 2, 10, 1)"), "= 10 after Block 3 is larger than its 24 x"),
        (("INPUT.SIZE_TEST", "[48, 16]", "MODEL.WRIM.MAIN.STRIPES", "6"), "the 3 rows .*SIZE_TEST"),
        (
            ("INPUT.SIZE_TRAIN", "[2, 64]"),
            r"SIZE_TRAIN = \[2, 64\]: the stem's feature map is empty",
        ),
        (
            ("SOLVER.SCHED", "CosineAnnealingLR", "SOLVER.BASE_LR", "0"),
            r"ETA_MIN_LR = 1e-07: .*BASE_LR = 0.0 down to it",
        ),
        (
            ("SOLVER.SCHED", "CosineAnnealingLR", "SOLVER.ETA_MIN_LR", "-1"),
            r"ETA_MIN_LR = -1.0: expected a number in \[0, ",
        ),
        (("PLUGINS", "(0,)"), "PLUGINS names 0: expected the dotted name of a module"),
        (("PLUGINS", "('.a',)"), "PLUGINS names '.a': expected the dotted name"),
        (("PLUGINS", "('no_such_module',)"), "there is no module 'no_such_module'"),
        (("MODEL.META_ARCHITECTURE", "X"), "META_ARCHITECTURE = 'X': expected one of .*WRIMNet"),
        (("MODEL.BACKBONE.NAME", "x"), "BACKBONE.NAME = 'x': expected one of .*PLUGINS"),
        (("MODEL.HEADS.NAME", "x"), "HEADS.NAME = 'x': expected one of AICLHead"),
        (("MODEL.DEVICE", "gpu"), r"MODEL.DEVICE = 'gpu': expected auto or one of \['cpu'"),
        (("MODEL.DEVICE", "cuda:99"), r"MODEL.DEVICE = 'cuda:99': expected auto or one of"),
    ],
)
def test_broken_rule_is_a_sentence(words, message):
    with pytest.raises(ValueError, match=message):
        setup(*words)


@given(
    height=st.integers(3, 160),
    width=st.integers(3, 90),
    last_stride=st.sampled_from([1, 2]),
    max_pool=st.sampled_from(["fastreid", "torchvision"]),
    depth=st.sampled_from(["18x", "50x"]),
)
@settings(max_examples=25, deadline=None)
def test_map_sizes_are_those_of_the_backbone(height, width, last_stride, max_pool, depth):
    found = _block_sizes(_backbone(depth, last_stride, max_pool), height, width)
    assert map_sizes([height, width], last_stride, max_pool) == found


@pytest.mark.parametrize("depth", ["34x", "101x"])
@pytest.mark.parametrize("max_pool", ["fastreid", "torchvision"])
@pytest.mark.parametrize("size", [(384, 144), (37, 21), (3, 5)])
def test_map_sizes_are_those_of_the_deeper_backbones(depth, max_pool, size):
    found = _block_sizes(_backbone(depth, 1, max_pool), *size)
    assert map_sizes(list(size), 1, max_pool) == found


_BACKBONES = {}


def _backbone(depth, last_stride, max_pool):
    if (depth, last_stride, max_pool) not in _BACKBONES:
        with torch.device("meta"):
            backbone = WRIMResNet(depth=depth, last_stride=last_stride, max_pool=max_pool)
        _BACKBONES[depth, last_stride, max_pool] = backbone.eval()
    return _BACKBONES[depth, last_stride, max_pool]


def _block_sizes(backbone, height, width):
    sizes = []
    blocks = (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)
    hooks = [
        block.register_forward_hook(lambda _, __, output: sizes.append(tuple(output.shape[2:])))
        for block in blocks
    ]
    backbone(torch.empty(1, 3, height, width, device="meta"), 1)
    for hook in hooks:
        hook.remove()
    return sizes


@pytest.mark.parametrize("max_pool", ["fastreid", "torchvision"])
@pytest.mark.parametrize("size", [(70, 33), (69, 31), (71, 35), (66, 30)])
def test_stripes_fit_exactly_when_the_maps_have_the_rows(max_pool, size):
    rows = map_sizes(list(size), 1, max_pool)[3][0]
    words = ["INPUT.SIZE_TRAIN", str(list(size)), "MODEL.BACKBONE.MAX_POOL", max_pool]
    cfg = setup(*words, "MODEL.WRIM.MAIN.STRIPES", str(rows))
    cfg.defrost()
    cfg.MODEL.WRIM.MAIN.STRIPES = rows + 1
    with pytest.raises(ValueError, match=f"{rows + 1} stripes do not fit into the {rows} rows"):
        check_feature_rows(cfg)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def broken(:", r"its import fails: SyntaxError: .*own_broken\.py, line 1"),
        ("import no_such_thing", "its import fails: ModuleNotFoundError: No module named 'no_such"),
        ("1 / 0", "its import fails: ZeroDivisionError"),
    ],
)
def test_mistake_in_a_plugin_is_a_sentence(tmp_path, monkeypatch, text, reason):
    (tmp_path / "own_broken.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=f"PLUGINS names 'own_broken', but {reason}"):
        setup("PLUGINS", "('own_broken',)")


def test_beginning_of_a_key_names_it():
    with pytest.raises(KeyError, match=r"nearest known key is 'MODEL\.WRIM\.CMKIC\.TEMPERATURE'"):
        setup("MODEL.WRIM.CMKIC.TEMP", "1")
