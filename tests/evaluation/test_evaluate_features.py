import json
import re
import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from drawn_items import llcm_items

import wrimnet
from wrimnet import command_line
from wrimnet.data.protocols import find_protocol
from wrimnet.evaluation.features import (
    evaluate_features,
    load_features,
    parse_items,
    save_features,
    unit_length,
)
from wrimnet.evaluation.provenance import scored_sha256
from wrimnet.evaluation.scoring import QueryExpansion, Reranking, Scoring

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
sys.path.insert(0, str(ROOT / "tools"))
from evaluate_features import asked_protocols, main, weighted_sum  # noqa: E402

PIPELINE = {
    "sysu_all_single": ("sysu", "all"),
    "sysu_indoor_single": ("sysu", "indoor"),
    "llcm_ir2vis": ("llcm", "ir2vis"),
    "llcm_vis2ir": ("llcm", "vis2ir_paper"),
    "llcm_vis2ir_swapped": ("llcm", "vis2ir_testpy_swapped"),
}


def run_tool(tmp_path, protocol, *arguments, out="out/results.json"):
    words = ["--protocol", *protocol.split(), "--out", str(tmp_path / out), *map(str, arguments)]
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


def test_several_protocols_are_scored_in_one_call(tmp_path, capsys):
    items, rng = llcm_items(num_ids=4), np.random.default_rng(0)
    parts = {name: rng.standard_normal((len(items), 8)) for name in ("global", "stripes")}
    save_features(tmp_path / "f.npz", as_in_llcm(items), parts)
    both = run_tool(tmp_path, "llcm_ir2vis llcm_vis2ir", "--features", tmp_path / "f.npz")
    named = [(entry["protocol"], entry["whole"]) for entry in both["results"]]
    whole = [("llcm_ir2vis", True), ("llcm_vis2ir", True)]
    assert named[:2] == whole
    assert sorted(named[2:]) == sorted(2 * [(name, False) for name, _ in whole])
    printed = capsys.readouterr().out
    for entry in both["results"][:2]:
        alone = run_tool(tmp_path, entry["protocol"], "--features", tmp_path / "f.npz")
        assert alone["trials"] == entry["trials"]
        assert f"{100 * entry['mean']['mAP']:.2f} ±" in printed
    with pytest.raises(ValueError, match="belongs to RegDB, the dataset is LLCM"):
        asked_protocols(Namespace(protocol=["llcm_ir2vis", "regdb_v2t"]))


def test_several_protocols_are_read_as_results_of_a_run_are(tmp_path):
    a, *_ = llcm_set(tmp_path, "a.npz", seed=1)
    b, *_ = llcm_set(tmp_path, "b.npz", seed=2)
    words = ("--features", a, b, "--weights", 0.7, 0.3)
    written = run_tool(tmp_path, "llcm_ir2vis llcm_vis2ir", *words)
    records = wrimnet.read_results(tmp_path / "out")
    means = [100 * entry["mean"]["mAP"] for entry in written["results"]]
    assert [record["mAP"] for record in records] == pytest.approx(means)
    assert [record["whole"] for record in records] == 2 * [True] + 4 * [False]
    assert written["description"]["split"] == "trainval"
    assert scored_sha256(written) is None  # of no file of weights


def as_in_llcm(items):
    """The items with paths that LLCM's layout has."""
    tops = ("test_vis", "test_nir")
    return [
        item._replace(relpath=f"{tops[item.modality]}/cam{item.camid}/{item.pid:04d}/{n}.jpg")
        for n, item in enumerate(items)
    ]


def test_saved_features_are_read_again(tmp_path):
    items = as_in_llcm(llcm_items(num_ids=3))
    features = np.random.default_rng(0).standard_normal((len(items), 4)).astype(np.float32)
    save_features(tmp_path / "f.npz", items, features)
    found, parts = load_features(tmp_path / "f.npz", "LLCM")
    assert [item.relpath for item in found] == [item.relpath for item in items]
    assert [item[1:4] for item in found] == [item[1:4] for item in items]
    np.testing.assert_array_equal(parts["features"], features)
    with pytest.raises(ValueError, match=r"features/a has shape \(4, 4\), expected \(54, D\)"):
        save_features(tmp_path / "f.npz", items, {"a": features[:4]})


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


def test_normalizing_is_scaling_to_unit_length(tmp_path):
    paths, features = regdb_arrays()
    items = parse_items(paths.tolist(), "RegDB")
    protocol = find_protocol("regdb_t2v")
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    asked = evaluate_features(items, unit_length(features, items), protocol).numbers()
    assert asked == evaluate_features(items, unit, protocol).numbers()
    assert asked != evaluate_features(items, features, protocol).numbers()
    for scale in (1e300, 1e-300, 1e-307):
        np.testing.assert_allclose(unit_length(scale * features, items), unit, rtol=1e-6)
    powers = 2.0 ** np.arange(-900, -900 + len(items))[:, None]  # exact: the very same numbers
    np.testing.assert_array_equal(unit_length(powers * features, items), unit)
    features[3] = 0
    with pytest.raises(ValueError, match=r"of Visible/1/3.bmp and 0 more of 232 images are zero"):
        unit_length(features, items)


def test_another_number_of_images_than_is_published_is_told(tmp_path, capsys):
    paths, features = regdb_arrays()
    np.savez(tmp_path / "f.npz", paths=paths, features=features)
    run_tool(tmp_path, "regdb_v2t", "--features", tmp_path / "f.npz")
    told = "232 images of 29 identities, RegDB tests on 4120 of 206: the results are not comparable"
    assert told in " ".join(capsys.readouterr().out.split())


def test_test_ids_select_identities(tmp_path):
    paths, features = regdb_arrays()
    np.savez(tmp_path / "f.npz", paths=paths, features=features, test_ids=np.array([2, 5]))
    items, parts = load_features(tmp_path / "f.npz", "RegDB")
    assert {item.pid for item in items} == {2, 5}
    rows = [paths.tolist().index(item.relpath) for item in items]
    np.testing.assert_array_equal(parts["features"], features[rows])


FINE = {"paths": np.array(["Visible/1/a.bmp", "Thermal/1/b.bmp"]), "features": np.eye(2)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.array([[np.nan, 1], [0, 1]])}, r"Visible/1/a.bmp \(row 0\) holds NaN"),
        ({"features": np.eye(2, dtype=int)}, "embeddings have dtype int64, expected float32"),
        ({"features": np.zeros((2, 4))}, r"Visible/1/a.bmp and 1 more of 2 images are zero"),
        ({"features": np.eye(2)[[0, 0]] * [[1], [0]]}, r"Thermal/1/b.bmp and 0 more of 2 images"),
        ({"features": np.array([None, {}])}, r"plain arrays \(it holds Python objects\); write"),
        ({"features": np.ones(2)}, r"features has shape \(2,\), expected \(2, D\)"),
        ({"features": np.eye(3)}, r"features has shape \(3, 3\), expected \(2, D\)"),
        ({"features": np.zeros((2, 0))}, r"embeddings have shape \(2, 0\)"),
        ({"paths": np.array([1, 2])}, r"paths is int64 \(2,\), expected strings"),
        ({"paths": np.array(["Visible/1/a.bmp", "x/1/b.bmp"])}, "'x/1/b.bmp' is not a RegDB image"),
        (
            {"paths": np.array(["Visible/1/a.bmp"] * 2)},
            "'Visible/1/a.bmp' is in paths more than once",
        ),
        ({"paths": np.array(["Visible/1/a.bmp", "Visible/1/b.bmp"])}, "no infrared test image"),
        ({"paths": np.array(["Visible/1/a.bmp", "Thermal/2/b.bmp"])}, "none of the 1 queries has"),
        ({"test_ids": np.array([1, 9])}, r"no image of test_ids \[9\] among the paths"),
        ({"test_ids": np.array(["1"])}, r"test_ids is <U1 \(1,\), expected integers"),
    ],
)
def test_unusable_features_are_named(tmp_path, capsys, change, message):
    np.savez(tmp_path / "f.npz", **{**FINE, **change})
    assert run_tool(tmp_path, "regdb_v2t", "--features", tmp_path / "f.npz") == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not (tmp_path / "out").exists()


def llcm_set(folder, name="f.npz", seed=0, length=8, tops=("test_vis", "test_nir")):
    """Two images per identity, camera and modality; the file, its paths and its features."""
    groups = [f"{top}/cam{camera}" for top in tops for camera in (1, 2)]
    names = [f"{pid:04d}/{number}.jpg" for pid in range(1, 14) for number in (1, 2)]
    paths = np.array([f"{group}/{of_image}" for group in groups for of_image in names])
    features = np.random.default_rng(seed).standard_normal((len(paths), length)).astype(np.float32)
    np.savez(folder / name, paths=paths, features=features)
    return folder / name, paths, features


def test_copies_of_test_images_among_llcms_training_folders_are_refused(tmp_path, capsys):
    _, paths, features = llcm_set(tmp_path)
    copies = np.array([f"vis/{pid:04d}/{pid:04d}_c01_s1_f1_vis.jpg" for pid in range(1, 14)])
    both = np.concatenate([paths, copies])
    np.savez(tmp_path / "both.npz", paths=both, features=features[np.arange(len(both)) % 9])
    assert run_tool(tmp_path, "llcm_ir2vis", "--features", tmp_path / "both.npz") == 2
    assert "'vis/0001/0001_c01_s1_f1_vis.jpg' and 12 more of 117" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.parametrize(("protocol", "most"), [("regdb_v2t", 206), ("sysu_all_single", 96)])
def test_more_identities_than_are_tested_on_are_refused(tmp_path, capsys, protocol, most):
    pids = range(1, most + 2)
    layout = ("Visible/{0}/a.bmp", "Thermal/{0}/b.bmp")
    if protocol.startswith("sysu"):
        layout = ("cam1/{0:04d}/0001.jpg", "cam3/{0:04d}/0001.jpg")
    paths = np.array([path.format(pid) for path in layout for pid in pids])
    features = np.random.default_rng(0).standard_normal((len(paths), 4))
    np.savez(tmp_path / "f.npz", paths=paths, features=features)
    assert run_tool(tmp_path, protocol, "--features", tmp_path / "f.npz") == 2
    assert f"are of {most + 1} identities, " in " ".join(capsys.readouterr().err.split())
    np.savez(tmp_path / "f.npz", paths=paths, features=features, test_ids=np.arange(1, most + 1))
    assert run_tool(tmp_path, protocol, "--features", tmp_path / "f.npz")["trials"]


def test_a_duplicate_among_many_paths_is_found_at_once():
    paths = [f"vis/{n % 700:04d}/{n}_c01_s1_f1_vis.jpg" for n in range(47_000)]
    begin = time.process_time()
    with pytest.raises(
        ValueError, match=r"'vis/0005/5_c01_s1_f1_vis.jpg' is in paths more than once"
    ):
        parse_items([*paths, paths[5]], "LLCM")
    assert time.process_time() - begin < 1


def test_weighted_files_are_the_weighted_sum_of_similarities(tmp_path):
    a, paths, first = llcm_set(tmp_path, "a.npz", seed=1)
    b, _, second = llcm_set(tmp_path, "b.npz", seed=2, length=5)
    order = np.random.default_rng(0).permutation(len(paths))
    np.savez(b, paths=paths[order], features=second[order])
    joined = weighted_sum([load_set(a), load_set(b)], [0.75, 0.25])
    similarity = 0.75 * first.astype(float) @ first.T + 0.25 * second.astype(float) @ second.T
    np.testing.assert_allclose(joined @ joined.T, similarity, atol=1e-12)
    found = run_tool(tmp_path, "llcm_ir2vis", "--features", a, b, "--weights", 0.75, 0.25)
    expected = evaluate_features(load_set(a)[0], joined, find_protocol("llcm_ir2vis"))
    assert found["mean"] == expected.numbers()["mean"]
    alone = run_tool(tmp_path, "llcm_ir2vis", "--features", b)
    assert found["parts"]["b:features"] == {k: alone[k] for k in ("mean", "std", "trials")}
    assert found["description"]["source_weights"] == [0.75, 0.25]


def load_set(path):
    items, parts = load_features(path, "LLCM")
    return items, parts["features"]


def test_parts_and_modalities_may_stand_apart(tmp_path, capsys):
    file, paths, features = llcm_set(tmp_path)
    expected = run_tool(tmp_path, "llcm_ir2vis", "--features", file)
    visible = np.array([path.startswith("test_vis") for path in paths])
    arrays = {}
    for side, rows in (("visible", visible), ("infrared", ~visible)):
        arrays[f"{side}/paths"] = paths[rows]
        for name, columns in (("one", slice(0, 3)), ("two", slice(3, 8))):
            arrays[f"{side}/features/{name}"] = features[rows, columns]
    np.savez(tmp_path / "apart.npz", **arrays)
    found = run_tool(tmp_path, "llcm_ir2vis", "--features", tmp_path / "apart.npz")
    assert found["mean"] == expected["mean"]
    printed = capsys.readouterr().out.splitlines()
    assert max(map(len, printed)) <= 160 and sum("| two " in line for line in printed) == 1
    assert printed[-1] == f"written: {tmp_path / 'out/results.json'}"
    assert set(found["parts"]) == {"one", "two"}
    assert found["parts"]["one"]["mean"] != found["parts"]["two"]["mean"]


def test_reranking_and_expansion_are_applied_and_named(tmp_path):
    file, *_ = llcm_set(tmp_path)
    plain = run_tool(tmp_path, "llcm_ir2vis", "--features", file)
    words = ("--rerank", 6, 3, 0.3, "--aqe", 4, 3, 1)
    changed = run_tool(tmp_path, "llcm_ir2vis", "--features", file, *words)
    scoring = Scoring(
        expansion=QueryExpansion(neighbors=4, alpha=3.0, rounds=1),
        reranking=Reranking(k1=6, k2=3, original_weight=0.3),
    )
    expected = evaluate_features(*load_set(file), find_protocol("llcm_ir2vis"), scoring=scoring)
    assert changed["mean"] == expected.numbers()["mean"] != plain["mean"]
    named = "k1=6 k2=3 lambda=0.3 neighbors=queries+gallery"
    assert changed["description"]["reranking"] == named
    assert changed["description"]["query_expansion"] == "k=4 alpha=3.0 rounds=1"
    words = ("--rerank", 6, 3, 0.3, "--query-neighbors")
    barred = run_tool(tmp_path, "llcm_ir2vis", "--features", file, *words)
    assert barred["description"]["reranking"] == "k1=6 k2=3 lambda=0.3 neighbors=queries"
    assert barred["mean"] not in (changed["mean"], plain["mean"])
    assert plain["description"]["reranking"] is None


def test_shots_are_those_of_the_official_draw():
    asked = {"protocol": ["sysu_all_multi"], "unique_ids": False, "shots": 3}
    (protocol,) = asked_protocols(Namespace(**asked, draw="official"))
    assert protocol.shots == 3
    for wrong in ({"draw": "agw"}, {"draw": "official", "shots": 0}):
        with pytest.raises(ValueError, match=r"--shots .: expected at least 1, with --draw off"):
            asked_protocols(Namespace(**{**asked, **wrong}))


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
    assert re.search(message, " ".join(capsys.readouterr().err.split()))


def test_missing_arrays_files_and_contradictions_are_named(tmp_path, capsys):
    np.savez(tmp_path / "d.npz", dist=np.ones((1, 2)))
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "f.npz", **FINE)
    for protocol, arguments, message in (
        ("llcm_ir2vis", ["--distances", "d.npz"], "lacks ['q_pids', 'g_pids', 'q_cams', 'g_cams']"),
        ("llcm_ir2vis", ["--features", "absent.npz"], "absent.npz' does not exist"),
        ("llcm_ir2vis", ["--features", "text.npz"], "cannot be read as an npz file"),
        ("regdb", ["--features", "f.npz"], "unknown protocol 'regdb'"),
        ("sysu_all_single", ["--features", "f.npz", "--draw", "official"], "belong together"),
        ("sysu_all_multi", ["--features", "f.npz"], "is not a SYSU-MM01 image path"),
        ("llcm_ir2vis", ["--distances", "d.npz", "--normalize"], "distances are used as given"),
    ):
        files = [str(tmp_path / word) if word.endswith(".npz") else word for word in arguments]
        assert run_tool(tmp_path, protocol, *files) == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_what_is_no_npz_file_and_no_number_is_named(tmp_path, capsys):
    (tmp_path / "photo.npz").write_bytes(b"\xff\xd8 of a photograph")
    np.save(tmp_path / "features.npy", np.ones((4, 2)))
    for words, message in (
        (
            ("--features", tmp_path / "features.npy"),
            "single array; write the arrays together by name",
        ),
        (
            ("--distances", tmp_path / "features.npy"),
            "single array; write the arrays together by name",
        ),
        (("--features", tmp_path / "photo.npz"), "an npz file of plain arrays (it is none); write"),
        (
            ("--features", "f.npz", "--rerank", "a", "6", "0.3"),
            "--rerank a 6 0.3: expected two",
        ),
        (("--features", "f.npz", "--aqe", "5", "3", "x"), "--aqe 5 3 x: expected"),
    ):
        assert run_tool(tmp_path, "llcm_ir2vis", *words) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert run_tool(tmp_path, "llcm_ir2vis", "--features", "f.npz", out=".") == 2
    assert "is a folder; give a file to be written" in capsys.readouterr().err
