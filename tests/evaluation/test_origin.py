"""What weights say they were trained on, and what is refused for it."""

import json
import logging

import pytest
import torch
from tiny_runs import make_trainer, tiny_cfg
from trees import make_llcm_tree, make_regdb_tree

from wrimnet.config import setup_cfg
from wrimnet.data.datasets import LLCM, RegDB
from wrimnet.evaluation.origin import (
    check_own_results,
    check_unseen,
    describe_lineage,
    describe_training,
    find_lineage,
    seen_identities,
)
from wrimnet.modeling.backbones import build_imagenet_start
from wrimnet.modeling.weights import TRAINED_ON, read_checkpoint
from wrimnet.run_folder import compared_facts


@pytest.fixture
def regdb(tmp_path):
    make_regdb_tree(tmp_path)
    return lambda number, split="trainval": RegDB(str(tmp_path), split=split, number=number)


def lineage(dataset, split="trainval", start="random"):
    return [describe_training(dataset, split, start)]


def test_identities_are_persons_wherever_they_were_trained(regdb):
    """RegDB's labels name others in every list; its folders name persons."""
    one, two = regdb(1), regdb(2)
    assert lineage(one)[0]["identities"] == [1, 3, 5, 7]
    assert seen_identities(lineage(one), one) == []
    assert seen_identities(lineage(one), two) == [1, 3, 5, 7]
    both = [*lineage(two), *lineage(one)]  # trained on trial 2 from the weights of trial 1
    assert seen_identities(both, one) == [2, 4, 6, 8]
    assert seen_identities(both, two) == [1, 3, 5, 7]


def test_split_train_tests_identities_that_trainval_trains(regdb):
    held_out = regdb(1, "train")
    assert seen_identities(lineage(held_out, "train"), held_out) == []
    seen = seen_identities(lineage(regdb(1)), held_out)
    assert seen == sorted({RegDB.parse_relpath(i.relpath)[0] for i in held_out.test})
    with pytest.raises(ValueError, match=r"were trained on 2 of the 2 identities that RegDB tests"):
        check_unseen(lineage(regdb(1)), held_out, "the weights", allowed=False)


def test_another_dataset_and_its_synthetic_stand_in_share_no_identity(regdb, tmp_path):
    make_llcm_tree(tmp_path)
    llcm = LLCM(str(tmp_path))
    assert seen_identities(lineage(llcm), regdb(1)) == []
    trained = lineage(regdb(1))
    (tmp_path / "RegDB" / "synthetic.json").write_text("{}")
    assert seen_identities(trained, regdb(2)) == []


def test_allowed_overlap_is_a_warning_and_recorded(regdb, caplog):
    trained, tested = lineage(regdb(1), start="ImageNet 0676ba61"), regdb(2)
    logger = logging.getLogger("fastreid.wrimnet.origin")
    logger.addHandler(caplog.handler)
    try:
        check_unseen(trained, tested, "the weights", allowed=True)
        check_unseen([{"unknown": "weights abc"}], tested, "the weights", allowed=False)
    finally:
        logger.removeHandler(caplog.handler)
    assert "trained on 4 of the 4 identities" in caplog.text
    assert "weights abc do not say what they were trained on" in caplog.text
    described = describe_lineage(trained, tested)
    assert described["seen_identities"] == 4 and described["start"] == "ImageNet 0676ba61"
    assert describe_lineage(trained, regdb(1)).keys() == {"train_images", "start"}
    assert describe_lineage([{"unknown": "weights abc"}], tested) == {
        "train_images": None,
        "start": None,
    }


def test_images_and_start_have_to_be_shared_to_compare_results():
    one = {"images": "a", "train_images": "b", "start": "random", "weights": {"path": "x"}}
    assert compared_facts(one) == compared_facts({**one, "weights": None, "code": {}})
    for name in ("images", "train_images", "start"):
        assert compared_facts(one) != compared_facts({**one, name: "other"})


def test_results_of_another_run_are_not_taken_for_its_own(tmp_path):
    content = {"description": {"images": "a", "config": "1"}}
    check_own_results(content, {"images": "a", "config": "1"}, tmp_path / "absent.pth")
    with pytest.raises(ValueError, match="of another run: images is 'a', of this run 'b'"):
        check_own_results(content, {"images": "b", "config": "1"}, tmp_path / "absent.pth")


def test_start_names_the_imagenet_file(tmp_path):
    def named(**keys):
        words = [word for pair in keys.items() for word in (f"MODEL.BACKBONE.{pair[0]}", pair[1])]
        return build_imagenet_start(setup_cfg("", (), ["MODEL.DEVICE", "cpu", *words]))

    assert named() == named(NAME="build_resnet_backbone") == "ImageNet 0676ba61"
    assert named(NAME="build_torchvision_backbone") == "ImageNet 11ad3fa6"
    (tmp_path / "a.pth").write_bytes(b"weights")
    assert named(PRETRAIN_PATH=str(tmp_path / "a.pth")) == "ImageNet 9a129038"
    assert "timm" in named(NAME="build_timm_backbone")


def test_training_from_weights_carries_their_record(data, tmp_path):
    """Through a checkpoint; what started from it names it, with all that it was trained on."""
    first = make_trainer(tiny_cfg(data, tmp_path / "first"))
    first.data_loader.close()
    first.iter = 1
    weights = tmp_path / "first.pth"
    torch.save(first.weights_state(), weights)
    record = find_lineage(read_checkpoint(weights), weights)
    assert (record[0]["dataset"], record[0]["start"], len(record)) == ("LLCM", "random", 1)
    cfg = tiny_cfg(data, tmp_path / "second", MODEL__WEIGHTS=str(weights))
    second = make_trainer(cfg)
    second.data_loader.close()
    assert second.origin[TRAINED_ON][1:] == record
    assert second.origin[TRAINED_ON][0]["start"].startswith("weights ")
    starts = [trainer.evaluator.description["start"] for trainer in (first, second)]
    assert starts == ["random", second.origin[TRAINED_ON][0]["start"]]
    assert second.origin["config_hash"] == first.origin["config_hash"]
    torch.save({"model": first.model.state_dict()}, weights)
    (unknown,) = find_lineage(read_checkpoint(weights), weights)
    assert unknown["unknown"].startswith("weights ")
    assert json.dumps(second.origin[TRAINED_ON])
