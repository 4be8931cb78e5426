"""Gates and similarity gradients of a model, and the ranked lists that are shown."""

import copy

import numpy as np
import pytest
import torch

from wrimnet.config import setup_cfg
from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.visualization.figures import build_subject
from wrimnet.visualization.gates import gate_maps, miim_placement
from wrimnet.visualization.ranked_lists import KINDS, _choose, choose_rankings, listed
from wrimnet.visualization.similarity import similarity_maps


def test_gates_are_those_of_the_miims(subject):
    model, images = subject.trained.model, subject.network_input([0, 1])
    backbone = model.backbone
    for modality, name in ((VISIBLE, "visible"), (INFRARED, "infrared")):
        gates = gate_maps(model, images, modality)
        with torch.inference_mode():
            features = model.preprocess_image(images)
            features = backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(features))))
            features = backbone.layer1(features)
            expected = getattr(backbone.miims["1"], name).gate(features).mean(1)
        np.testing.assert_allclose(gates[1], expected.numpy(), atol=1e-6)
        assert sorted(gates) == [1, 2, 3, 4]
        assert all(gate.min() > 0 and gate.max() < 1 for gate in gates.values())


def test_placement_is_that_of_the_configuration(subject):
    placement = miim_placement(subject.trained.model)
    assert placement == {1: "separate", 2: "separate", 3: "shared", 4: "shared"}


def pair(subject):
    """Inputs and modalities of the first infrared and the first visible test image."""
    rows = [int(np.flatnonzero(subject.modality == m)[0]) for m in (INFRARED, VISIBLE)]
    return rows, tuple(subject.network_input(rows)), (INFRARED, VISIBLE)


def test_similarity_is_the_cosine_of_the_embeddings(subject):
    rows, images, modalities = pair(subject)
    found = similarity_maps(subject.trained.model, subject.trained.parts, images, modalities)
    cosine = float(subject.embeddings[rows[0]] @ subject.embeddings[rows[1]])
    assert found.similarity == pytest.approx(cosine, abs=1e-5)


def test_maps_add_up_to_the_slope_of_the_cosine(subject):
    """Scaling the features of Block 3 by s changes the cosine by (s - 1) times the map's sum."""
    model = copy.deepcopy(subject.trained.model).double()
    parts, (_, images, modalities) = subject.trained.parts, pair(subject)
    found = similarity_maps(model, parts, images, modalities)

    def cosine(scales):
        remaining = list(scales)
        hook = model.backbone.miims["3"].register_forward_hook(
            lambda block, inputs, output: output * remaining.pop(0)
        )
        value = similarity_maps(model, parts, images, modalities).similarity
        hook.remove()
        return value

    step = 1e-4
    for number, values in enumerate((found.first, found.second)):
        up, down = [1.0, 1.0], [1.0, 1.0]
        up[number], down[number] = 1 + step, 1 - step
        slope = (cosine(up) - cosine(down)) / (2 * step)
        assert slope == pytest.approx(values.sum(), rel=1e-4, abs=1e-9)


def test_looking_leaves_no_hook_behind(subject):
    model = subject.trained.model
    _, images, modalities = pair(subject)
    similarity_maps(model, subject.trained.parts, images, modalities)
    gate_maps(model, torch.stack(images), VISIBLE)
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert not any("gate" in vars(module) for module in model.modules())


def rankings_of(subject, run, per_kind):
    return choose_rankings(
        subject.embeddings, subject.items, run, per_kind=per_kind, seed=subject.seed
    )


@pytest.mark.parametrize("number", [0, 1])
def test_rankings_follow_the_protocol(subject, number):
    run = subject.runs[number]
    rankings = rankings_of(subject, run, 2)
    assert [ranking.kind for ranking in rankings] == ["best"] * 2 + ["random"] * 2 + ["worst"] * 2
    assert len({ranking.query for ranking in rankings}) == 6
    for ranking in rankings:
        query = subject.items[ranking.query]
        assert query.modality == run.protocol.query_modality
        assert sorted(ranking.order) == sorted(run.trials[0].gallery_rows)
        assert (np.diff(ranking.similarity) <= 0).all()
        for row, removed in zip(ranking.order, ranking.removed, strict=True):
            item = subject.items[row]
            assert removed == (item.pid == query.pid and item.camid == query.camid)
    again = rankings_of(subject, run, 2)
    assert [ranking.query for ranking in again] == [ranking.query for ranking in rankings]


def test_queries_shown_are_of_distinct_identities_while_there_are_any():
    precision = np.array([0.9, 0.8, 0.7, 0.1, 0.2, 0.6, 0.5, 0.4, 0.3, 0.0])
    pids = np.array([1, 1, 2, 2, 3, 4, 5, 6, 7, 8])
    matched = np.arange(9)  # the last query has no match
    chosen = _choose(precision, matched, pids, 2, seed=0)
    kinds = {kind: [n for k, n in chosen if k == kind] for kind in KINDS}
    assert kinds["best"] == [0, 2]
    assert kinds["worst"] == [4, 8]  # 3 is of an identity that is shown
    assert {pids[n] for n in kinds["random"]} < {4, 5, 6}
    few = [n for _, n in _choose(precision[:4], np.arange(4), pids[:4], 2, seed=0)]
    assert sorted(few) == [0, 1, 2, 3]  # two identities only: the other queries follow


def test_average_precision_of_a_shown_list_is_that_of_its_order(subject):
    for ranking in rankings_of(subject, subject.runs[0], 3):
        kept = ranking.order[~ranking.removed]
        right = subject.pids[kept] == subject.pids[ranking.query]
        ranks = np.flatnonzero(right) + 1
        expected = np.mean(np.arange(1, len(ranks) + 1) / ranks)
        assert ranking.average_precision == pytest.approx(expected)


def test_row_of_a_sheet_holds_the_nearest_that_count_and_those_removed(subject):
    for ranking in rankings_of(subject, subject.runs[0], 2):
        row = listed(ranking, subject.items)
        kept, removed = ranking.order[~ranking.removed], ranking.order[ranking.removed]
        pid = subject.items[ranking.query].pid
        assert [tile.path for tile in row.ranked] == [subject.items[r].path for r in kept[:10]]
        assert [tile.status for tile in row.ranked] == [
            "right" if subject.items[r].pid == pid else "wrong" for r in kept[:10]
        ]
        assert [tile.caption.split(":")[0] for tile in row.ranked] == [
            str(rank) for rank in range(1, len(row.ranked) + 1)
        ]
        assert [(tile.path, tile.status) for tile in row.removed] == [
            (subject.items[r].path, "excluded") for r in removed[:2]
        ]
        assert row.query.path == subject.items[ranking.query].path


def test_title_says_model_dataset_and_direction(subject):
    title = subject.title("Ranked lists", "infrared to visible")
    assert title == (
        "Ranked lists\nWRIMNet-18x (model_final.pth) on LLCM (synthetic), infrared to visible"
    )


def test_untrained_network_is_the_seeds_and_leaves_the_generators_alone(subject, finished_run):
    run = finished_run.run
    options = ["MODEL.WEIGHTS", str(run / "model_final.pth")]
    before = torch.get_rng_state()
    again = build_subject(setup_cfg(str(run / "config.yaml"), options=options))
    assert torch.equal(torch.get_rng_state(), before)
    assert again.untrained.facts.model_hash == subject.untrained.facts.model_hash
    assert again.untrained.facts.model_hash != subject.trained.facts.model_hash


def test_network_without_the_training_before_a_continued_one_is_called_so(
    subject, finished_run, tmp_path
):
    """Its start is not here, and no ImageNet weights are needed for what stands beside it."""
    assert subject.embeddings_by_heading[0][0] == "before training"
    state = torch.load(finished_run.run / "model_final.pth", weights_only=True)
    state["trained_on"] = [{"dataset": "LLCM", "start": "weights c0ffee"}]
    torch.save(state, tmp_path / "continued.pth")
    options = {
        "MODEL.WEIGHTS": tmp_path / "continued.pth",
        "MODEL.BACKBONE.PRETRAIN": True,
        "MODEL.BACKBONE.PRETRAIN_PATH": "gone.pth",
    }
    again = build_subject(setup_cfg(str(finished_run.run / "config.yaml"), options=options))
    assert again.embeddings_by_heading[0][0] == "without training"
    assert again.untrained.facts.model_hash == subject.untrained.facts.model_hash
