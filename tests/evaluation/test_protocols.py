import subprocess
import sys
from dataclasses import replace

import pytest

from wrimnet.data.datasets import LLCM, SYSU_MM01, RegDB
from wrimnet.data.protocols import all_protocols, dataset_protocols, find_protocol
from wrimnet.metrics.exclusion import CAMERA_RULES
from wrimnet.modality import INFRARED, VISIBLE

DATASETS = (LLCM, RegDB, SYSU_MM01)
PROTOCOLS = {p.name: p for dataset in DATASETS for p in dataset.protocols}
NAMES = [
    "llcm_ir2vis",
    "llcm_vis2ir",
    "llcm_vis2ir_swapped",
    "regdb_v2t",
    "regdb_t2v",
    "sysu_all_single",
    "sysu_all_multi",
    "sysu_indoor_single",
    "sysu_indoor_multi",
]


def test_every_protocol_in_use_has_its_name():
    assert list(PROTOCOLS) == NAMES
    assert all_protocols().items() >= PROTOCOLS.items()
    assert all(protocol.name == name for name, protocol in PROTOCOLS.items())
    assert {protocol.camera_rule for protocol in PROTOCOLS.values()} == set(CAMERA_RULES)


def test_defaults_of_one_run():
    defaults = {dataset: dataset.default_protocols for dataset in DATASETS}
    assert defaults == {
        LLCM: ("llcm_ir2vis", "llcm_vis2ir"),
        RegDB: ("regdb_v2t", "regdb_t2v"),
        SYSU_MM01: ("sysu_all_single", "sysu_indoor_single"),
    }
    for dataset, names in defaults.items():
        assert [protocol.name for protocol in dataset_protocols(dataset)] == list(names)


def test_a_dataset_carries_the_protocols_of_its_name():
    for dataset in DATASETS:
        assert {protocol.dataset for protocol in dataset.protocols} == {dataset.name}


@pytest.mark.parametrize("name", NAMES)
def test_query_and_gallery_are_of_different_modalities(name):
    protocol = find_protocol(name)
    assert {protocol.query_modality, protocol.gallery_modality} == {VISIBLE, INFRARED}
    assert bool(protocol.drawn_side) == bool(protocol.shots)


def test_sysu_queries_are_infrared_and_indoor_galleries_are_of_cameras_1_and_2():
    sysu = [protocol for protocol in PROTOCOLS.values() if protocol.dataset == "SYSU_MM01"]
    assert {protocol.query_modality for protocol in sysu} == {INFRARED}
    cameras = {protocol.name: (protocol.drawn_cameras, protocol.shots) for protocol in sysu}
    assert cameras == {
        "sysu_all_single": ((1, 2, 4, 5), 1),
        "sysu_all_multi": ((1, 2, 4, 5), 10),
        "sysu_indoor_single": ((1, 2), 1),
        "sysu_indoor_multi": ((1, 2), 10),
    }


def test_swapped_differs_from_ir2vis_in_the_drawn_side_and_has_its_own_table():
    ir2vis, swapped = find_protocol("llcm_ir2vis"), find_protocol("llcm_vis2ir_swapped")
    assert (ir2vis.drawn_side, swapped.drawn_side) == ("gallery", "query")
    same = replace(swapped, name=ir2vis.name, direction=ir2vis.direction, drawn_side="gallery",
                   table="main")  # fmt: skip
    assert same == ir2vis
    assert [p.name for p in PROTOCOLS.values() if p.table != "main"] == ["llcm_vis2ir_swapped"]


def test_without_the_plugin_it_is_named():
    code = "from wrimnet.data.protocols import find_protocol; find_protocol('llcm_ir2vis')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "no dataset is registered yet; import wrimnet.plugin first" in done.stderr


def test_regdb_counts_images_the_others_identities():
    assert {p.dataset for p in PROTOCOLS.values() if not p.unique_ids} == {"RegDB"}


def test_unknown_names_and_foreign_protocols_are_refused():
    with pytest.raises(KeyError, match=r"unknown protocol 'llcm_v2i'; choose one of .*sysu_all"):
        find_protocol("llcm_v2i")
    with pytest.raises(ValueError, match="sysu_all_single belongs to SYSU_MM01, the dataset is LL"):
        dataset_protocols(LLCM, ("sysu_all_single",))
    with pytest.raises(ValueError, match="a protocol is named twice: regdb_v2t, regdb_v2t"):
        dataset_protocols(RegDB, ("regdb_v2t", "regdb_v2t"))
