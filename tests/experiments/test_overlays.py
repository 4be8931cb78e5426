"""Each ablation file changes exactly the keys of its row, and the network is what the row says."""

import wrimnet.compat

import pytest
import torch
from fake_runs import PROJECT
from fastreid.modeling import build_model

import wrimnet.plugin  # noqa: F401
from wrimnet.config import get_cfg, setup_cfg
from wrimnet.config.keys import KEYS
from wrimnet.config.merge import Layer, merge_layer, read_overlay_file
from wrimnet.config.tree import get_key
from wrimnet.lab.experiments.table_file import read_table
from wrimnet.layers import Addition, Multiplication, PerModality, SigmoidGate

OVERLAYS = sorted((PROJECT / "configs" / "ablation").glob("*.yml"))
CONFIGS = sorted((PROJECT / "configs").glob("*/wrim.yml"))
MIIM = "MODEL.WRIM.MIIM."
FUSIONS = {"sigmoid": SigmoidGate, "multiply": Multiplication, "add": Addition}
SEPARATE, SHARED = MIIM + "SEPARATE_STAGES", MIIM + "SHARED_STAGES"
EXPECTED = {
    "s1_none": {SEPARATE: (), SHARED: ()},
    "s1_block1": {SEPARATE: (1,), SHARED: ()},
    "s1_block2": {SEPARATE: (2,), SHARED: ()},
    "s1_block3": {SEPARATE: (), SHARED: (3,)},
    "s1_block4": {SEPARATE: (), SHARED: (4,)},
    "s1_blocks12": {SHARED: ()},
    "s1_blocks34": {SEPARATE: ()},
    "s1_blocks1234": {},
    "s2_shared": {SEPARATE: (), SHARED: (1, 2, 3, 4)},
    "s2_separate": {SEPARATE: (1, 2, 3, 4), SHARED: ()},
    "s3_multiply": {MIIM + "FUSION": "multiply"},
    "s3_add": {MIIM + "FUSION": "add"},
    "s4_no_auxiliary": {"MODEL.WRIM.AUXILIARY.ENABLED": False},
    "no_cmkic": {"MODEL.WRIM.CMKIC.WEIGHT": 0.0},
    "no_triplet": {"MODEL.WRIM.TRIPLET.WEIGHT": 0.0},
    "no_stripes": {"MODEL.WRIM.MAIN.STRIPES": 0},
    "lambdas_exchanged": {"MODEL.WRIM.CMKIC.WEIGHT": 0.1, "MODEL.WRIM.AUXILIARY.WEIGHT": 0.5},
}
FULL = "s1_blocks1234"
TABLES = {
    name: read_table(PROJECT / f"configs/tables/{name}.yml", dataset="Synthetic", project=PROJECT)
    for name in ("s1", "s2", "s3", "s4", "losses")
}
ROWS = list({row.folder: row for table in TABLES.values() for row in table.rows}.values())
TERMS = {"loss_cls", "loss_tri", "loss_cmkic", "loss_cls_aux", "loss_tri_aux"}
ABSENT = {
    "s4_no_auxiliary": {"loss_cls_aux", "loss_tri_aux"},
    "no_cmkic": {"loss_cmkic"},
    "no_triplet": {"loss_tri", "loss_tri_aux"},
    "baseline": {"loss_cmkic", "loss_cls_aux", "loss_tri_aux"},
}


def read(path):
    return read_overlay_file(path)


def differing(one, other):
    return {k.name for k in KEYS if get_key(one, k.name) != get_key(other, k.name)}


def row_cfg(row, *options):
    sizes = ("INPUT.SIZE_TRAIN", "[32,16]", "INPUT.SIZE_TEST", "[32,16]", "MODEL.DEVICE", "cpu")
    return setup_cfg(row.config, row.overlays, (*sizes, "MODEL.HEADS.NUM_CLASSES", "2", *options))


def test_files_and_rows_are_the_same_set():
    names = {path.stem for path in OVERLAYS}
    assert names == set(EXPECTED) == {row.folder for row in ROWS if row.overlays}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_overlay_changes_exactly_the_keys_of_its_row(overlay, config):
    """It writes no key but its row's, and each one differs from the dataset's own value."""
    plain, laid = setup_cfg(str(config)), setup_cfg(str(config), [str(overlay)])
    written = read(overlay)
    assert written.keys() == EXPECTED[overlay.stem].keys()
    assert differing(plain, laid) == {*written, "OUTPUT_DIR"}
    assert f"{plain.OUTPUT_DIR}-{overlay.stem}" == laid.OUTPUT_DIR
    assert {name: get_key(laid, name) for name in written} == EXPECTED[overlay.stem]


@pytest.mark.parametrize("name", TABLES)
def test_header_names_table_and_the_paper_numbers(name):
    (published,) = TABLES[name].published
    for row in TABLES[name].rows:
        if not row.overlays or (row.folder == FULL and name != "s1"):
            continue
        text = (PROJECT / "configs/ablation" / f"{row.folder}.yml").read_text()
        header = " ".join(line[1:].strip() for line in text.splitlines() if line.startswith("#"))
        assert header.startswith("Losses:" if name == "losses" else f"Table {name.upper()}:")
        numbers = published.values(row.label)
        if not numbers:
            assert "no number" in header
        else:
            assert f"Rank-1 {numbers['Rank-1']:.2f}, mAP {numbers['mAP']:.2f}" in header
            assert "direction as printed" in header


@pytest.mark.parametrize(("name", "count"), [("s1", 8), ("s2", 3), ("s3", 3), ("s4", 2)])
def test_tables_have_the_paper_rows_with_wrim_net_last(name, count):
    table = TABLES[name]
    assert len(table.rows) == count
    assert table.rows[-1].folder == FULL and table.rows[-1].label == table.against == "WRIM-Net"
    assert table.published[0].numbers.keys() == {row.label for row in table.rows}
    assert table.published[0].values("WRIM-Net") == {"Rank-1": 58.38, "mAP": 64.75}
    assert table.published[0].source == "paper, LLCM, direction as printed"


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.folder)
def row_and_model(request):
    return request.param, build_model(row_cfg(request.param)).train()


def test_network_differs_as_the_row_says(row_and_model):
    row, model = row_and_model
    expected = EXPECTED.get(row.folder, {SEPARATE: (), SHARED: ()})
    separate, shared = expected.get(SEPARATE, (1, 2)), expected.get(SHARED, (3, 4))
    kinds = {name: type(miim) is PerModality for name, miim in model.backbone.miims.items()}
    assert kinds == {str(stage): stage in separate for stage in sorted((*separate, *shared))}
    inner = [getattr(miim, "visible", miim) for miim in model.backbone.miims.values()]
    assert {type(miim.fusion) for miim in inner} <= {
        FUSIONS[expected.get(MIIM + "FUSION", "sigmoid")]
    }
    heads = model.heads
    assert (heads.auxiliary is None) == (row.folder in {"s4_no_auxiliary", "baseline"})
    assert heads.main.num_stripes == (0 if row.folder in {"no_stripes", "baseline"} else 2)
    assert (heads.main.projection is None) == (row.folder in {"no_cmkic", "baseline"})


def test_loss_terms_are_those_of_the_row(row_and_model):
    row, model = row_and_model
    batch = {
        "images": torch.randint(0, 256, (8, 32, 16, 3), dtype=torch.uint8),
        "targets": torch.tensor([0, 0, 1, 1] * 2),
        "modality": torch.tensor([0] * 4 + [1] * 4),
    }
    losses = model(batch)
    assert losses.keys() == TERMS - ABSENT.get(row.folder, set())
    assert all(bool(value.isfinite()) for value in losses.values())
    if row.folder == "lambdas_exchanged":
        raw = model.raw_losses
        assert float(losses["loss_cmkic"].detach() / raw["cmkic"]) == pytest.approx(0.1)
        assert float(losses["loss_tri_aux"].detach() / raw["tri_aux"]) == pytest.approx(0.5)


def test_study_is_an_overlay_of_sizes_alone():
    """No key of the method: the study differs from the demo in size and length."""
    written = read(PROJECT / "configs/Synthetic/study.yml")
    assert written
    assert all(name.split(".")[0] in {"INPUT", "DATALOADER", "SOLVER", "TEST"} for name in written)
    merge_layer(get_cfg(), Layer("study.yml", written))
