"""A misspelt name of something registered: what there is, and how to add a custom one."""

import importlib.util
import re
import sys

import pytest
import torch
from PIL import Image
from source_tree import ROOT

from wrimnet.config import setup_cfg
from wrimnet.data.protocols import find_protocol
from wrimnet.metrics.exclusion import camera_rule
from wrimnet.registries import find_dataset, only_dataset

CONFIG = str(ROOT / "configs/LLCM/wrim.yml")
SMALL = ("MODEL.DEVICE", "cpu", "MODEL.BACKBONE.PRETRAIN", "False", "MODEL.BACKBONE.DEPTH", "18x")
OWN = "a module of your own that registers another is named in PLUGINS"
YOURS = "PLUGINS of a configuration, --plugin where a tool has none, or an import in Python"


def setup(key, value):
    return setup_cfg(CONFIG, (), [*SMALL, key, value])


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("MODEL.META_ARCHITECTURE", "WRIMNet"),
        ("MODEL.BACKBONE.NAME", "build_wrim_resnet_backbone"),
        ("MODEL.HEADS.NAME", "AICLHead"),
        ("MODEL.WRIM.MIIM.NAME", "MIIM"),
        ("MODEL.WRIM.MIIM.FUSION", "add, multiply, sigmoid"),
        ("INPUT.AUGMENTATION", "default"),
        ("DATALOADER.SAMPLER_TRAIN", "cross_modality"),
        ("SOLVER.OPT", "a class of torch.optim"),
        ("SOLVER.SCHED", "CosineAnnealingLR, MultiStepLR"),
    ],
)
def test_key_with_one_name(key, known):
    with pytest.raises(ValueError, match=rf"{key} = 'Mispelt': expected .*{known}.*; {OWN}"):
        setup(key, "Mispelt")


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("HOOKS", "HOOKS = 'Mispelt': (expected one of .*|none is registered)"),
        ("WRITERS", "WRITERS = 'Mispelt': (expected one of .*|none is registered)"),
        ("INPUT.AUGMENTATION", "INPUT.AUGMENTATION = 'Mispelt': expected one of .*default"),
        ("TEST.METRICS", "TEST.METRICS names 'Mispelt': expected Rank-1 to Rank-20, mAP, mINP"),
    ],
)
def test_key_with_a_list_of_names(key, known):
    with pytest.raises(ValueError, match=f"{known}.*; {OWN}"):
        setup(key, "['Mispelt']")


def test_key_of_a_loss_and_name_of_a_part():
    from fastreid.modeling import build_model

    needs = "a key of your own needs the module that declares it in PLUGINS"
    with pytest.raises(KeyError, match=rf"'MODEL.CENTER.WEIGHT' .*nearest known key .*; {needs}"):
        setup("MODEL.CENTER.WEIGHT", "0.1")
    parts = r"expected some of \('global', 'stripes', 'auxiliary'\); a head of your own, .*PLUGINS"
    with pytest.raises(ValueError, match=rf"EMBEDDING_PARTS = \('Mispelt',\): {parts}"):
        build_model(setup("MODEL.WRIM.EMBEDDING_PARTS", "['Mispelt']"))


@pytest.mark.parametrize(
    ("find", "known"),
    [
        (find_dataset, "use one of LLCM, RegDB, SYSU-MM01"),
        (find_protocol, "choose one of llcm_ir2vis"),
    ],
)
def test_name_that_tools_and_python_look_up(find, known):
    with pytest.raises(KeyError, match=f"'Mispelt'.*{known}.*{YOURS}"):
        find("Mispelt")


def test_dataset_of_a_configuration_and_camera_rule_of_a_protocol():
    with pytest.raises(ValueError, match=f"expected exactly one of LLCM, .*; {OWN}"):
        only_dataset(("Mispelt",))
    with pytest.raises(KeyError, match=r"choose one of .*none.*exclusion\.register_camera_rule"):
        camera_rule("Mispelt")


def call(name, *words):
    """Calls a program in this process."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.argv = [f"tools/{name}.py", *words]
    return module.main()


FEATURES = ("evaluate_features", "--features", "F.npz", "--out", "scored.json")
INDEX = ("search", "index", "run", "--images", "a.png", "--modality", "visible", "--index", "index")
HOOK = ("HOOKS", "['Mispelt']", *SMALL)
PROTOCOL = ("TEST.PROTOCOLS", "['mispelt']", "DATASETS.ROOT", "nowhere", *SMALL)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("check_dataset", "--dataset", "MyVI"), f"LLCM, RegDB, SYSU-MM01.*{YOURS}"),
        ((*FEATURES, "--protocol", "my_v2i"), f"llcm_ir2vis.*{YOURS}"),
        (
            (*FEATURES, "--protocol", "llcm_ir2vis", "--metrics", "Mispelt"),
            "--metrics names 'Mispelt': .*mINP.* registers another is named in --plugin",
        ),
        (("train_net", "--config-file", CONFIG, *HOOK), OWN),
        (("train_net", "--config-file", CONFIG, "--dry-run", *HOOK), OWN),
        (("train_net", "--config-file", CONFIG, *PROTOCOL), f"protocol 'mispelt'.*{YOURS}"),
        (("plain_train_net", "--config-file", CONFIG, *HOOK), OWN),
        (("demo", *HOOK), OWN),
        (("benchmark", "data", "--config-file", CONFIG, *HOOK), OWN),
        (("convert_official", "--config-file", CONFIG, "--weights", "F", "--out", "x", *HOOK), OWN),
        (("export", "safetensors", "run", "--out", "exported", *HOOK), OWN),
        (("visualize", "run", *HOOK), OWN),
        (("measure_gates", "run", *HOOK), OWN),
        ((*INDEX, *HOOK), OWN),
        (("run_table", str(ROOT / "configs/tables/s1.yml"), "--dataset", "LLCM", *HOOK), OWN),
        (
            ("run_table", str(ROOT / "configs/tables/s1.yml"), "--dataset", "MyVI"),
            "--dataset MyVI needs .*configs/MyVI/wrim.yml.*; configs/ has LLCM.*PLUGINS",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_programs(words, message, tmp_path, monkeypatch):
    Image.new("L", (1, 1)).save(tmp_path / "a.png")
    torch.save({"net": {}}, tmp_path / "F")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(setup_cfg(CONFIG, (), SMALL).dump())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises((ValueError, KeyError, FileNotFoundError)) as caught:
        call(*words)
    assert re.search(message, str(caught.value)), caught.value
