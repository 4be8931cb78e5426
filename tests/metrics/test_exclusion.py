import pytest
import torch

from wrimnet.metrics.exclusion import CAMERA_RULES, camera_rule


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
