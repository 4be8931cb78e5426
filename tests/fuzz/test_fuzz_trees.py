"""Whatever is missing, renamed or overwritten in a dataset: consistent items or an error."""

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from fuzz_examples import examples
from hypothesis import given
from hypothesis import strategies as st
from trees import make_llcm_tree, make_regdb_tree, make_sysu_tree

from wrimnet.data.datasets import LLCM, SYSU_MM01, RegDB
from wrimnet.data.datasets.dataset_check import examine
from wrimnet.data.loader import TrainSet
from wrimnet.data.sampler import CrossModalitySampler

LAYOUTS = {
    "LLCM": (make_llcm_tree, LLCM),
    "RegDB": (make_regdb_tree, RegDB),
    "SYSU_MM01": (make_sysu_tree, SYSU_MM01),
}
EXPECTED = (ValueError, KeyError, FileNotFoundError, NotADirectoryError)


@pytest.fixture(scope="module")
def sound_trees(tmp_path_factory):
    roots = {name: tmp_path_factory.mktemp(name) for name in LAYOUTS}
    return {name: make(roots[name]) for name, (make, _) in LAYOUTS.items()}


def damage(folder, rng):
    """One damage somewhere in a tree; lists of identities and images are hit most often."""
    paths = sorted(folder.rglob("*"))
    lists = [path for path in paths if path.suffix == ".txt"]
    if not paths:  # earlier damages have taken everything
        return
    path = rng.choice(lists if lists and rng.random() < 0.5 else paths)
    kind = rng.randrange(6)
    if kind == 0:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif kind == 1:
        name = path.with_name(rng.choice(["0001", "cam9", "x.txt", "0003.jpg", "vis", "é"]))
        path.rename(name if not name.exists() else path.with_name("other"))
    elif path.is_dir():
        (path / rng.choice(["Thumbs.db", ".hidden", "0001.jpg", "9999"])).write_bytes(b"")
    elif kind == 2:
        path.write_bytes(rng.randbytes(rng.randrange(80)))
    elif kind == 3:
        path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size + 1)])
    else:
        _edit(path, rng)


def _edit(path, rng):
    content = bytearray(path.read_bytes())
    if content:
        content[rng.randrange(len(content))] = rng.choice(b"0189 ,/\nx\xff-")
    path.write_bytes(bytes(content))


def check_items(dataset):
    """What was read is what the paths say, each file once; no identity is in both halves."""
    items, parse = [*dataset.train, *dataset.test], dataset.parse_relpath
    assert max(Counter(item.relpath for item in items).values(), default=1) == 1
    for item in items:
        assert parse(item.relpath)[1:] == (item.camid, item.modality)
        assert Path(item.path).is_file()
    halves = [{parse(item.relpath)[0] for item in half} for half in (dataset.train, dataset.test)]
    assert not halves[0] & halves[1]
    for half, identities in zip((dataset.train, dataset.test), halves, strict=True):
        pairs = {(parse(item.relpath)[0], item.pid) for item in half}  # RegDB: folder and label
        assert len(pairs) == len(identities) == len({pid for _, pid in pairs})


@given(st.sampled_from(sorted(LAYOUTS)), st.integers(0, 2**32 - 1), st.integers(1, 3))
@examples(8)
def test_damaged_trees(sound_trees, tmp_path_factory, name, seed, count):
    rng, (_, reader) = random.Random(seed), LAYOUTS[name]
    root = tmp_path_factory.mktemp("damaged")
    folder = root / sound_trees[name].name
    shutil.copytree(sound_trees[name], folder)
    for _ in range(count):
        damage(folder, rng)
    try:
        dataset = reader(str(root))
        check_items(dataset)
        train = TrainSet(dataset.train)
        sampler = CrossModalitySampler(
            pids=train.pids, modalities=train.modality, num_pids=2, num_instances=2, seed=0
        )
        assert len(sampler.batch(0)) == 8
    except EXPECTED as error:
        assert len(str(error)) > 15
    examination = examine(reader, str(root), expected=None, open_images=True, workers=0)
    assert examination.findings is not None
    shutil.rmtree(root)


@pytest.mark.parametrize("name", LAYOUTS)
def test_sound_trees_pass_the_same_checks(sound_trees, name):
    _, reader = LAYOUTS[name]
    check_items(reader(str(sound_trees[name].parent)))
