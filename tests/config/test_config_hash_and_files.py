"""The configuration files of the repository, the hash of a configuration, the printed list."""

import pytest
from source_tree import ROOT
from train_net import describe_keys

from wrimnet.config import config_hash, get_cfg, setup_cfg
from wrimnet.config.keys import IF_SET, KEYS, NEVER
from wrimnet.config.tree import available_devices, get_key, leaf_names, set_key

FILES = sorted((ROOT / "configs").glob("*/*.yml"))
CONFIG_FILES = [path for path in FILES if "\n_BASE_:" in path.read_text()]
OVERLAYS = [p for p in FILES if p not in CONFIG_FILES and p.parent.name != "tables"]


def relative(path):
    return path.relative_to(ROOT).as_posix()


def changed(key):
    value = key.default
    if key.name == "PLUGINS":
        return ("json",)  # the hash asks the plugins for their keys
    if isinstance(value, bool):
        return not value
    if isinstance(value, (list, tuple)):
        return type(value)([*value, 1])
    return f"{value}x" if isinstance(value, str) else value + 1


@pytest.mark.parametrize("path", CONFIG_FILES, ids=relative)
def test_every_configuration_file_loads_and_keeps_the_rules(path):
    cfg = setup_cfg(str(path), (), ["MODEL.DEVICE", "cpu"])
    assert cfg.is_frozen()
    assert f"logs/{path.parent.name}/{path.stem}" == cfg.OUTPUT_DIR


def test_there_are_files_for_all_datasets():
    names = {f"{path.parent.name}/{path.stem}" for path in CONFIG_FILES}
    assert names >= {
        f"{data}/{kind}"
        for data in ("LLCM", "RegDB", "SYSU", "Synthetic")
        for kind in ("wrim", "baseline")
    }


@pytest.mark.parametrize("overlay", OVERLAYS, ids=relative)
def test_every_overlay_fits_the_main_configuration(overlay):
    setup_cfg(str(ROOT / "configs/LLCM/wrim.yml"), [str(overlay)], ["MODEL.DEVICE", "cpu"])


@pytest.mark.parametrize("dataset", ["LLCM", "RegDB", "SYSU", "Synthetic"])
def test_baseline_has_no_part_of_the_method(dataset):
    cfg = setup_cfg(str(ROOT / "configs" / dataset / "baseline.yml"), (), ["MODEL.DEVICE", "cpu"])
    wrim = cfg.MODEL.WRIM
    assert (wrim.MIIM.SEPARATE_STAGES, wrim.MIIM.SHARED_STAGES) == ((), ())
    assert (wrim.MAIN.STRIPES, wrim.AUXILIARY.ENABLED, wrim.CMKIC.WEIGHT) == (0, False, 0.0)
    assert (wrim.CLASSIFICATION.WEIGHT, wrim.TRIPLET.WEIGHT) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("dataset", "size", "instances", "stripes", "auxiliary_stripes", "top_k"),
    [
        ("LLCM", [384, 144], 8, 2, 0, 4),
        ("RegDB", [256, 144], 8, 6, 2, 4),
        ("SYSU", [384, 144], 16, 2, 0, 8),
    ],
)
def test_recipe_of_the_supplement(dataset, size, instances, stripes, auxiliary_stripes, top_k):
    cfg = setup_cfg(str(ROOT / "configs" / dataset / "wrim.yml"), (), ["MODEL.DEVICE", "cpu"])
    wrim, solver = cfg.MODEL.WRIM, cfg.SOLVER
    assert cfg.INPUT.SIZE_TRAIN == cfg.INPUT.SIZE_TEST == size
    assert (128, instances) == (solver.IMS_PER_BATCH, cfg.DATALOADER.NUM_INSTANCE)
    assert (stripes, auxiliary_stripes) == (wrim.MAIN.STRIPES, wrim.AUXILIARY.STRIPES)
    assert (top_k, 0.07, 0.3) == (wrim.CMKIC.TOP_K, wrim.CMKIC.TEMPERATURE, wrim.TRIPLET.MARGIN)
    assert (wrim.CMKIC.WEIGHT, wrim.AUXILIARY.WEIGHT) == (0.5, 0.1)
    assert (wrim.MIIM.SEPARATE_STAGES, wrim.MIIM.SHARED_STAGES) == ((1, 2), (3, 4))
    assert (solver.OPT, solver.BASE_LR, solver.WEIGHT_DECAY) == ("Adam", 3.5e-4, 5e-4)
    assert (solver.MAX_EPOCH, solver.STEPS, solver.GAMMA) == (140, [80, 120], 0.1)
    assert solver.WARMUP_ITERS == 0
    assert (cfg.MODEL.BACKBONE.DEPTH, cfg.MODEL.BACKBONE.PRETRAIN) == ("50x", True)


def test_hash_is_twelve_hex_digits_and_the_same_for_equal_configurations():
    first, second = config_hash(get_cfg()), config_hash(get_cfg().clone())
    assert first == second
    assert len(first) == 12
    int(first, 16)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_hash_changes_with_every_key_that_shapes_the_result_and_no_other(key):
    cfg = get_cfg()
    set_key(cfg, key.name, changed(key))
    same = config_hash(cfg) == config_hash(get_cfg())
    assert same == (key.hashed == NEVER)


def test_keys_younger_than_the_first_hashes_leave_them_as_they_were():
    without, with_first = get_cfg(), get_cfg()
    for key in KEYS:
        if key.hashed == IF_SET:
            group, _, name = key.name.rpartition(".")
            del (get_key(without, group) if group else without)[name]
    with_first.MODEL.WRIM.MIIM.NORM = "none"  # its default then
    assert len(leaf_names(without)) < len(leaf_names(get_cfg()))
    assert config_hash(without) == config_hash(with_first) == "8302beab9782"


def test_the_norm_at_the_entrance_has_a_hash_of_its_own():
    hashes = {
        norm: config_hash(setup_cfg("", (), ["MODEL.DEVICE", "cpu", "MODEL.WRIM.MIIM.NORM", norm]))
        for norm in ("none", "entrance", "gate", "both")
    }
    assert len(set(hashes.values())) == 4
    assert hashes["entrance"] == config_hash(setup_cfg("", (), ["MODEL.DEVICE", "cpu"]))


def test_plugin_whose_keys_have_their_defaults_leaves_the_hash(tmp_path, monkeypatch):
    text = """from wrimnet.config import IF_SET, Key
def add_config():
    return [Key("MODEL.CENTER.WEIGHT", 0.0, "weight", hashed=IF_SET)]
"""
    (tmp_path / "center_loss.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    def hashed(*words):
        return config_hash(setup_cfg("", (), ["MODEL.DEVICE", "cpu", *words]))

    plugin = ("PLUGINS", "['center_loss']")
    assert hashed(*plugin) == hashed(*plugin, "MODEL.CENTER.WEIGHT", "0") == hashed()
    assert hashed(*plugin, "MODEL.CENTER.WEIGHT", "0.1") != hashed()


def test_printed_list_holds_every_key_with_default_meaning_and_choices():
    text = describe_keys(KEYS)
    for key in KEYS:
        assert f"{key.name} = {key.default!r}\n    {key.meaning}" in text
        assert all(str(choice) in text for choice in key.allowed or ())


def test_no_key_is_declared_twice_and_every_key_has_a_meaning():
    names = [key.name for key in KEYS]
    assert len(set(names)) == len(names)
    assert all(key.meaning for key in KEYS)


def test_defaults_are_those_of_the_table():
    cfg = get_cfg()
    for key in KEYS:
        if key.name != "MODEL.DEVICE":
            assert get_key(cfg, key.name) == key.default, key.name


def test_automatic_device_is_resolved_and_a_cpu_runs_in_full_precision():
    assert setup_cfg("", (), ["MODEL.DEVICE", "auto"]).MODEL.DEVICE in available_devices()
    cfg = setup_cfg("", (), ["MODEL.DEVICE", "cpu", "SOLVER.PRECISION", "bf16"])
    assert cfg.SOLVER.PRECISION == "fp32"
