"""The numbers at the top of a report."""

from fake_runs import results

from wrimnet.visualization.headlines import headlines


def content():
    found = results()
    for entry in found["results"]:
        entry["mean"]["cmc"] = [0.3] * 20
        entry["direction"] = "infrared to visible"
    return found


def test_each_protocol_has_its_metrics_with_chance_and_the_printed_number():
    found = headlines(
        content(),
        {"llcm_ir2vis": {"Rank-1": 0.0125, "mAP": 0.02, "mINP": 0.01}},
        {"Rank-1": 58.38},
    )
    first, second = found
    assert (first.name, second.name) == ("llcm_ir2vis", "llcm_vis2ir")
    assert first.direction == "infrared to visible"
    rank1, precision, _ = first.metrics
    paper = "paper 58.38, direction not named"
    assert rank1 == ("Rank-1", "30.00", ("chance 1.25", paper))
    assert precision == ("mAP", "40.00", ("chance 2.00",))
    assert [number.beside for number in second.metrics] == [(paper,), (), ()]
