"""Each dataset's configuration on its generated layout: training and --eval-only agree exactly."""

import json

import pytest
from tiny_runs import ROOT, TINY, evaluation_folder

from wrimnet.config import setup_cfg
from wrimnet.engine.run import evaluate, train
from wrimnet.lab.synthetic.generate_synthetic import generate_synthetic
from wrimnet.lab.synthetic.plan import Request

LAYOUTS = {
    "llcm": ("LLCM", ["llcm_ir2vis", "llcm_vis2ir"]),
    "regdb": ("RegDB", ["regdb_v2t", "regdb_t2v"]),
    "sysu": ("SYSU", ["sysu_all_single", "sysu_indoor_single"]),
}
SMALL = {**TINY, "MODEL.DEVICE": "cpu", "MODEL.WRIM.AUXILIARY.STRIPES": "1", "SOLVER.STEPS": "[]"}


@pytest.fixture(scope="module", params=LAYOUTS)
def trained(request, tmp_path_factory):
    """Configuration file, words of the run and folder of a trained network, per layout."""
    folder = tmp_path_factory.mktemp(request.param)
    drawn = Request(seed=0, train_ids=6, test_ids=6, images_per_id=4, test_images_per_id=4)
    generate_synthetic(layout=request.param, out=folder, request=drawn, height=48, width=24)
    name, protocols = LAYOUTS[request.param]
    config_file = str(ROOT / "configs" / name / "wrim.yml")
    keys = {**SMALL, "MODEL.WRIM.MAIN.STRIPES": "2", "DATASETS.ROOT": str(folder)}
    words = [word for pair in keys.items() for word in pair]
    output = folder / "run"
    cfg = setup_cfg(config_file, (), [*words, "OUTPUT_DIR", str(output)])
    assert train(cfg) == 0
    return config_file, words, output, protocols


def evaluate_again(trained, output, *more):
    config_file, words, run, _ = trained
    where = ["OUTPUT_DIR", str(output), "MODEL.WEIGHTS", str(run / "model_final.pth")]
    cfg = setup_cfg(config_file, (), [*words, *where, *more])
    assert evaluate(cfg) == 0
    return json.loads((evaluation_folder(output) / "results.json").read_text())


def test_training_and_evaluation_agree_to_the_last_digit(trained, tmp_path):
    again = evaluate_again(trained, tmp_path)
    first = json.loads((trained[2] / "results.json").read_text())
    assert again["results"] == first["results"]
    whole = [result["protocol"] for result in first["results"] if result["whole"]]
    assert whole == trained[3]
    assert first["description"]["synthetic"] is True


def test_regdb_weights_are_refused_on_another_split(trained, tmp_path):
    if "regdb_v2t" not in trained[3]:
        pytest.skip("only RegDB has splits")
    with pytest.raises(ValueError, match=r"were trained on \d+ of the \d+ identities"):
        evaluate_again(trained, tmp_path, "DATASETS.REGDB_TRIAL", "2")


def test_official_draw_runs_multi_shot_on_the_generated_permutations(trained, tmp_path):
    if "sysu_all_single" not in trained[3]:
        pytest.skip("only SYSU-MM01 has an official draw")
    names = '("sysu_all_multi", "sysu_indoor_multi")'
    found = evaluate_again(
        trained, tmp_path, "TEST.PROTOCOLS", names, "TEST.GALLERY_DRAW", "official"
    )
    whole = {result["protocol"]: result for result in found["results"] if result["whole"]}
    assert list(whole) == ["sysu_all_multi", "sysu_indoor_multi"]
    assert {result["draw"] for result in whole.values()} == {"official"}
    with pytest.raises(ValueError, match="official"):
        evaluate_again(trained, tmp_path, "TEST.PROTOCOLS", names)


def test_options_are_off_by_default_and_named_when_on(trained, tmp_path):
    plain = json.loads((trained[2] / "results.json").read_text())["description"]
    assert (plain["flip"], plain["reranking"], plain["query_expansion"]) == (False, None, None)
    keys = {"FLIP.ENABLED": "True", "RERANK.ENABLED": "True", "AQE.ENABLED": "True"}
    keys |= {"RERANK.K1": "3", "RERANK.K2": "2", "AQE.QE_K": "2"}
    options = [word for name, value in keys.items() for word in (f"TEST.{name}", value)]
    named = evaluate_again(trained, tmp_path, *options)["description"]
    assert named["flip"] is True
    assert named["reranking"] == "k1=3 k2=2 lambda=0.3 neighbors=queries+gallery"
    assert named["query_expansion"].startswith("k=2")
