import json

import pytest
from reference.ranking_loop import rank_by_numpy, rank_by_walking
from reference.reranking_dense import rerank_dense

from wrimnet.lab.benchmarks.evaluation import (
    SIZES,
    Size,
    Timing,
    benchmark_evaluation,
    evaluation_table,
)

SMALL = (
    Size("sysu_all_single", 40, 30, 12, (3, 6), (1, 2, 4, 5)),
    Size("regdb_v2t", 30, 30, 6, (1,), (2,)),
    Size("llcm_ir2vis", 30, 40, 8, (1, 2), (1, 2)),
)


def test_every_form_is_timed_on_the_same_matrix_and_agrees():
    timings = benchmark_evaluation(
        {"walk": rank_by_walking, "numpy": rank_by_numpy},
        {"dense": rerank_dense},
        sizes=SMALL,
        repeats=2,
    )
    assert [timing.what for timing in timings] == ["ranking"] * 3 + ["re-ranking"] * 2
    for timing in timings:
        assert all(len(seconds) == 2 for seconds in timing.seconds.values())
        assert timing.difference < 1e-6
    assert "| ranking | regdb_v2t 30 x 30 | walk |" in evaluation_table(timings)
    json.dumps([timing.numbers() for timing in timings])


def test_sizes_are_those_of_the_test_sets():
    assert [size[:3] for size in SIZES] == [
        ("sysu_all_single", 3803, 301),
        ("regdb_v2t", 2060, 2060),
        ("llcm_ir2vis", 7166, 2000),
    ]


def test_ratio_is_of_the_medians():
    seconds = {"ours": [1.0, 2.0, 9.0], "loop": [8.0, 60.0, 4.0]}
    timing = Timing(what="ranking", size="", seconds=seconds, difference=0.0)
    assert timing.ratio("loop") == pytest.approx(4.0)
