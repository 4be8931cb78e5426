"""The data benchmark measures every source of images, and the cache once."""

from tiny_runs import tiny_cfg

from wrimnet.lab.benchmarks.benchmark_setup import with_spread
from wrimnet.lab.benchmarks.data import data_table, measure_sources


def test_every_source_is_measured(data, tmp_path):
    cfg = tiny_cfg(data, tmp_path, DATALOADER__CACHE_DIR=str(tmp_path))
    rows = list(measure_sources(cfg, repeats=2, steps=1))
    assert [row["what"] for row in rows] == [
        "CACHE none, read",
        "CACHE none, delivered",
        "building the cache, 1 processes",
        "CACHE disk, read",
        "CACHE disk, delivered",
        "CACHE ram, read",
        "CACHE ram, delivered",
        "augmentation on cpu",
    ]
    assert all(speed > 0 for row in rows for speed in row["images_per_second"])
    assert {len(row["images_per_second"]) for row in rows} == {1, 2}


def test_table_has_medians_and_spreads():
    row = {"what": "reading", "clock": "CPU time", "images_per_second": [30.0, 9.0, 10.0]}
    assert with_spread(row["images_per_second"], 0) == "10 (9 - 30)"
    (line,) = data_table([row]).splitlines()[2:]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        "reading",
        "CPU time",
        "10 (9 - 30)",
    ]
