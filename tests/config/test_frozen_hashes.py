"""The hash of every shipped configuration stays: it says whether two results are comparable."""

import json
from pathlib import Path

import pytest

from wrimnet.config import config_hash, setup_cfg

ROOT = Path(__file__).resolve().parents[2]
FROZEN = json.loads((ROOT / "tests/fixtures/config_hashes.json").read_text())
CONFIGS = sorted(
    path.relative_to(ROOT / "configs").as_posix()
    for path in (ROOT / "configs").glob("*/*.yml")
    if "_BASE_" in path.read_text()
)
OVERLAYS = sorted(path.stem for path in (ROOT / "configs/ablation").glob("*.yml"))


def hash_of(config, *overlays):
    files = [str(ROOT / "configs/ablation" / f"{name}.yml") for name in overlays]
    return config_hash(setup_cfg(str(ROOT / "configs" / config), files))


@pytest.mark.parametrize("config", CONFIGS)
def test_a_shipped_configuration_keeps_its_hash(config):
    assert hash_of(config) == FROZEN[config]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_ablation_keeps_its_hash(overlay):
    assert hash_of("LLCM/wrim.yml", overlay) == FROZEN[f"ablation/{overlay}.yml"]


def test_the_frozen_hashes_are_those_of_files_that_exist():
    assert FROZEN.keys() == {*CONFIGS, *(f"ablation/{name}.yml" for name in OVERLAYS)}
