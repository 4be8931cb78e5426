import torch

from wrimnet.data.protocols import find_protocol
from wrimnet.lab.benchmarks.evaluation import SIZES, Size, distances, measure_sizes

SMALL = (
    Size("sysu_all_single", 40, 30, 12, (3, 6), (1, 2, 4, 5)),
    Size("regdb_v2t", 30, 30, 6, (1,), (2,)),
)


def test_ranking_and_reranking_of_each_size_are_timed():
    rows = measure_sizes(SMALL, repeats=2)
    assert [(row["what"], row["size"]) for row in rows] == [
        ("ranking", "sysu_all_single 40 x 30"),
        ("re-ranking", "sysu_all_single 40 x 30"),
        ("ranking", "regdb_v2t 30 x 30"),
        ("re-ranking", "regdb_v2t 30 x 30"),
    ]
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in rows)


def test_distances_are_those_of_unit_vectors_that_gather_by_identity():
    dist, labels = distances(SMALL[0])
    torch.testing.assert_close(dist, dist.T)
    assert dist.diagonal().abs().max() < 1e-12 and dist.min() + 1e-12 >= 0 and dist.max() <= 4
    same = labels.pids[:, None] == labels.pids
    assert dist[same].mean() < 0.8 * dist[~same].mean()
    assert set(labels.camids[:40].tolist()) == {3, 6}


def test_sizes_are_those_of_the_test_sets():
    assert [size[:3] for size in SIZES] == [
        ("sysu_all_single", 3803, 301),
        ("regdb_v2t", 2060, 2060),
        ("llcm_ir2vis", 7166, 2000),
    ]
    assert all(find_protocol(size.protocol) for size in SIZES)
