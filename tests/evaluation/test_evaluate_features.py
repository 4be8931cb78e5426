import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from wrimnet import command_line
from wrimnet.data.protocols import find_protocol
from wrimnet.evaluation.features import evaluate_features, load_features, parse_items

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
sys.path.insert(0, str(ROOT / "tools"))
from evaluate_features import main  # noqa: E402

PIPELINE = {
    "sysu_all_single": ("sysu", "all"),
    "sysu_indoor_single": ("sysu", "indoor"),
    "llcm_ir2vis": ("llcm", "ir2vis"),
    "llcm_vis2ir": ("llcm", "vis2ir_paper"),
    "llcm_vis2ir_swapped": ("llcm", "vis2ir_testpy_swapped"),
}


def run_tool(tmp_path, protocol, *arguments, out="out/results.json"):
    words = ["--protocol", protocol, "--out", str(tmp_path / out), *map(str, arguments)]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["evaluate_features.py", *words])
        command_line.run_tool(main)
    return json.loads((tmp_path / out).read_text()) if ended.value.code == 0 else ended.value.code


@pytest.mark.parametrize("protocol", PIPELINE)
def test_ten_trials_are_those_of_the_reference_pipeline(tmp_path, protocol):
    arrays = np.load(FIXTURES / "pipeline_10trials.npz")
    dataset, case = PIPELINE[protocol]
    file = tmp_path / "features.npz"
    np.savez(file, paths=arrays[f"{dataset}/files"], features=arrays[f"{dataset}/feats"])
    results = run_tool(tmp_path, protocol, "--features", file)
    prefix = f"{dataset}/{case}"
    assert len(results["trials"]) == 10
    for number, trial in enumerate(results["trials"]):
        np.testing.assert_array_equal(
            np.float32(trial["cmc"]), arrays[f"{prefix}/cmc_trials"][number]
        )
        assert trial["mAP"] == pytest.approx(arrays[f"{prefix}/mAP_trials"][number], abs=1e-9)
        assert trial["mINP"] == pytest.approx(arrays[f"{prefix}/mINP_trials"][number], abs=1e-9)
    mean = results["mean"]
    rank1, mean_ap, mean_inp = arrays[f"{prefix}/mean"]
    assert mean["cmc"][0] == pytest.approx(rank1, abs=1e-7)  # the reference adds float32 curves
    assert (mean["mAP"], mean["mINP"]) == pytest.approx((mean_ap, mean_inp), abs=1e-9)
    assert len(mean["cmc"]) == 20
    assert results["description"]["protocol"] == protocol


def test_distances_are_one_trial_without_a_draw(tmp_path):
    with np.load(FIXTURES / "eval_llcm.npz") as arrays:
        case = {name.split("/")[1]: arrays[name] for name in arrays if name.startswith("ir2vis/")}
    names = ("dist", "q_pids", "g_pids", "q_cams", "g_cams")
    np.savez(tmp_path / "distances.npz", **{name: case[name] for name in names})
    results = run_tool(tmp_path, "llcm_ir2vis", "--distances", tmp_path / "distances.npz")
    assert len(results["trials"]) == 1
    np.testing.assert_array_equal(np.float32(results["mean"]["cmc"]), case["cmc"])
    assert results["mean"]["mAP"] == pytest.approx(float(case["mAP"]), abs=1e-9)
    assert results["description"]["draw"] == ""
    assert results["description"]["queries_skipped"] == [13]


def regdb_arrays(num_ids=30, per_id=4, seed=0):
    rng = np.random.default_rng(seed)
    paths = [f"{top}/{pid}/{n}.bmp" for top in ("Visible", "Thermal") for pid in range(1, num_ids)
             for n in range(per_id)]  # fmt: skip
    return np.array(paths), rng.standard_normal((len(paths), 8))


def test_unique_identities_are_an_option_for_regdb(tmp_path):
    paths, features = regdb_arrays()
    np.savez(tmp_path / "f.npz", paths=paths, features=features)
    images = run_tool(tmp_path, "regdb_v2t", "--features", tmp_path / "f.npz")
    unique = run_tool(tmp_path, "regdb_v2t", "--features", tmp_path / "f.npz", "--unique-ids")
    assert images["mean"]["cmc"][0] == unique["mean"]["cmc"][0]
    assert images["mean"]["cmc"][9] < unique["mean"]["cmc"][9]
    assert images["mean"]["mAP"] == unique["mean"]["mAP"]
    assert (images["description"]["cmc"], unique["description"]["cmc"]) == ("images", "identities")


def test_normalising_is_scaling_to_unit_length(tmp_path):
    paths, features = regdb_arrays()
    items = parse_items(paths.tolist(), "RegDB")
    protocol = find_protocol("regdb_t2v")
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    asked = evaluate_features(items, features, protocol, normalize=True).numbers()
    assert asked == evaluate_features(items, unit, protocol).numbers()
    assert asked != evaluate_features(items, features, protocol).numbers()
    features[3] = 0
    with pytest.raises(ValueError, match=r"features of Visible/1/3.bmp \(row 3\) are zero"):
        evaluate_features(items, features, protocol, normalize=True)


def test_test_ids_select_identities(tmp_path):
    paths, features = regdb_arrays()
    np.savez(tmp_path / "f.npz", paths=paths, features=features, test_ids=np.array([2, 5]))
    items, kept = load_features(tmp_path / "f.npz", "RegDB")
    assert {item.pid for item in items} == {2, 5}
    rows = [paths.tolist().index(item.relpath) for item in items]
    np.testing.assert_array_equal(kept, features[rows])


FINE = {"paths": np.array(["Visible/1/a.bmp", "Thermal/1/b.bmp"]), "features": np.eye(2)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.array([[np.nan, 1], [0, 1]])}, r"Visible/1/a.bmp \(row 0\) holds NaN"),
        ({"features": np.eye(2, dtype=int)}, "embeddings have dtype int64, expected float32"),
        ({"features": np.ones(2)}, r"features has shape \(2,\), expected \(2, D\)"),
        ({"features": np.eye(3)}, r"features has shape \(3, 3\), expected \(2, D\)"),
        ({"features": np.zeros((2, 0))}, r"embeddings have shape \(2, 0\)"),
        ({"paths": np.array([1, 2])}, r"paths is int64 \(2,\), expected strings"),
        ({"paths": np.array(["Visible/1/a.bmp", "x/1/b.bmp"])}, "'x/1/b.bmp' is no RegDB image"),
        ({"paths": np.array(["Visible/1/a.bmp"] * 2)}, "'Visible/1/a.bmp' comes more than once"),
        ({"paths": np.array(["Visible/1/a.bmp", "Visible/1/b.bmp"])}, "no infrared test image"),
        ({"paths": np.array(["Visible/1/a.bmp", "Thermal/2/b.bmp"])}, "none of the 1 queries has"),
        ({"test_ids": np.array([1, 9])}, r"no image of test_ids \[9\] among the paths"),
        ({"test_ids": np.array(["1"])}, r"test_ids is <U1 \(1,\), expected integers"),
    ],
)
def test_unusable_features_are_named(tmp_path, capsys, change, message):
    np.savez(tmp_path / "f.npz", **{**FINE, **change})
    assert run_tool(tmp_path, "regdb_v2t", "--features", tmp_path / "f.npz") == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


LABELS = {"q_pids": np.array([1]), "g_pids": np.array([1, 2]), "q_cams": np.array([1]),
          "g_cams": np.array([2, 2])}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dist": np.array([[np.nan, 1.0]])}, r"dist\[0, 0\] is nan"),
        ({"dist": np.array([[1, 2]])}, "dist has dtype torch.int64"),
        ({"dist": np.ones((2, 2))}, r"dist has shape \(2, 2\), expected \(1, 2\)"),
        ({"g_pids": np.array([1.0, 2.0])}, r"g_pids is float64 \(2,\), expected integers"),
        ({"g_pids": np.array([3, 2])}, "none of the 1 queries has a match"),
        ({"q_pids": np.array([], int), "q_cams": np.array([], int), "dist": np.ones((0, 2))},
         "0 queries and 2 gallery images: a side is empty"),
    ],
)  # fmt: skip
def test_unusable_distances_are_named(tmp_path, capsys, change, message):
    np.savez(tmp_path / "d.npz", **{"dist": np.ones((1, 2)), **LABELS, **change})
    assert run_tool(tmp_path, "llcm_ir2vis", "--distances", tmp_path / "d.npz") == 2
    assert re.search(message, capsys.readouterr().err)


def test_missing_arrays_files_and_contradictions_are_named(tmp_path, capsys):
    np.savez(tmp_path / "d.npz", dist=np.ones((1, 2)))
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "f.npz", **FINE)
    for protocol, arguments, message in (
        ("llcm_ir2vis", ["--distances", "d.npz"], "lacks ['q_pids', 'g_pids', 'q_cams', 'g_cams']"),
        ("llcm_ir2vis", ["--features", "absent.npz"], "no file"),
        ("llcm_ir2vis", ["--features", "text.npz"], "cannot be read as an npz file"),
        ("regdb", ["--features", "f.npz"], "unknown protocol 'regdb'"),
        ("sysu_all_single", ["--features", "f.npz", "--draw", "official"], "belong together"),
        ("sysu_all_multi", ["--features", "f.npz"], "is no SYSU-MM01 image path"),
        ("llcm_ir2vis", ["--distances", "d.npz", "--normalize"], "distances are used as given"),
    ):
        files = [str(tmp_path / word) if word.endswith(".npz") else word for word in arguments]
        assert run_tool(tmp_path, protocol, *files) == 2
        assert message in capsys.readouterr().err
