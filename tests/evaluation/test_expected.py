import pytest

import wrimnet.plugin  # noqa: F401  registers the datasets
from wrimnet.evaluation.results import check_expected

METRICS = {"llcm_ir2vis": {"Rank-1": 0.5, "mAP": 0.4}}


def test_results_within_their_tolerance_pass():
    expected = [["llcm_ir2vis", "Rank-1", 0.51, 0.02], ["llcm_ir2vis", "mAP", 0.4, 0.0]]
    assert check_expected(METRICS, expected) == []
    assert check_expected(METRICS, []) == []


def test_a_failure_says_by_how_much():
    expected = [["llcm_ir2vis", "Rank-1", 0.6, 0.02], ["llcm_ir2vis", "mAP", 0.3, 0.02]]
    assert check_expected(METRICS, expected) == [
        "llcm_ir2vis Rank-1 is 0.500000, expected 0.600000 ± 0.020000: below the range by 0.080000",
        "llcm_ir2vis mAP is 0.400000, expected 0.300000 ± 0.020000: above the range by 0.080000",
    ]


def test_nan_is_a_failure():
    metrics = {"llcm_ir2vis": {"mAP": float("nan")}}
    assert len(check_expected(metrics, [["llcm_ir2vis", "mAP", 0.4, 0.1]])) == 1


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (["llcm_ir2vis", "mAP", 0.4], "expected .protocol, metric, value, tolerance."),
        (["llcm", "mAP", 0.4, 0.1], "names 'llcm'; choose from"),
        (["llcm_ir2vis", "map", 0.4, 0.1], "names 'map'; choose from"),
        (["llcm_vis2ir", "mAP", 0.4, 0.1], r"expects llcm_vis2ir, this run has \['llcm_ir2vis'\]"),
        (["llcm_ir2vis", "mAP", 40.0, 0.1], "as fractions"),
    ],
)
def test_a_malformed_expectation_is_named(entry, message):
    with pytest.raises(ValueError, match=message):
        check_expected(METRICS, [entry])
