import pytest
import torch

from wrimnet.metrics.exclusion import CAMERA_RULES, camera_rule, register_camera_rule


def removed(name, query, gallery):
    query_pids, query_camids = torch.tensor(query).T
    gallery_pids, gallery_camids = torch.tensor(gallery).T
    return camera_rule(name)(query_pids, query_camids, gallery_pids, gallery_camids).tolist()


QUERIES = [(1, 3), (1, 2)]
GALLERY = [(1, 2), (2, 2), (1, 3), (2, 3)]


def test_sysu_camera_3_never_sees_camera_2_whatever_the_identity():
    mask = removed("sysu_cam3_never_sees_cam2", QUERIES, GALLERY)
    assert mask == [[True, True, False, False], [False] * 4]


def test_llcm_removes_the_same_identity_in_the_same_camera_only():
    mask = removed("llcm_same_identity_same_camera", QUERIES, GALLERY)
    assert mask == [[False, False, True, False], [True, False, False, False]]


def test_none_removes_nothing():
    assert removed("none", QUERIES, GALLERY) == [[False] * 4] * 2


def test_rules_are_called_by_their_names():
    assert sorted(CAMERA_RULES) == [
        "llcm_same_identity_same_camera",
        "none",
        "sysu_cam3_never_sees_cam2",
    ]
    with pytest.raises(KeyError, match="unknown camera rule 'market'; choose one of"):
        camera_rule("market")


def test_a_rule_of_ones_own_is_found_by_its_name_once(monkeypatch):
    monkeypatch.setattr("wrimnet.metrics.exclusion.CAMERA_RULES", dict(CAMERA_RULES))

    def nothing_but_identity_zero(query_pids, query_camids, gallery_pids, gallery_camids):
        return (gallery_pids == 0).expand(len(query_pids), -1)

    register_camera_rule(nothing_but_identity_zero)
    mask = removed("nothing_but_identity_zero", QUERIES, [(0, 1), (2, 2)])
    assert mask == [[True, False]] * 2
    with pytest.raises(ValueError, match="is a camera rule 'nothing_but_identity_zero' already"):
        register_camera_rule(nothing_but_identity_zero)
