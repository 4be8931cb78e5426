"""Kills of what stores images and embeddings: builders of one cache, appends to a search index."""

import inspect
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from fault_drill.faults import Outcome

from wrimnet.data.cache_file import CacheFile
from wrimnet.lab.search.index import EmbeddingIndex

ROOT = Path(__file__).resolve().parents[2]
DIM = 8

BUILD = """
import logging, sys
from pathlib import Path
from wrimnet.data.cache import open_cache
from wrimnet.data.cache_file import cache_key
from wrimnet.data.images import ImageItem
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
paths = sorted(Path(sys.argv[1]).rglob("*.jpg"))
items = [ImageItem(str(path), 0, 1, 0, path.name) for path in paths]
key = cache_key(items, dataset="Drawn", height=256, width=128, interpolation="bicubic",
                on_bad_image="error")
open_cache(key, items, Path(sys.argv[2]), num_processes=1, timeout=30)
"""


def rows_of(shard: int) -> np.ndarray:
    """The embedding (1, D) that is appended as number ``shard``."""
    row = np.random.default_rng(shard).standard_normal((1, DIM)).astype(np.float32)
    return row / np.linalg.norm(row)


# the appending process must not wait for the imports of this module
APPEND = f"""
import sys
import numpy as np
from wrimnet.lab.search.index import EmbeddingIndex, IndexFacts
DIM = {DIM}
{inspect.getsource(rows_of)}
facts = IndexFacts(model="A", model_hash="a" * 64, modality="visible", dim=DIM)
index = EmbeddingIndex(sys.argv[1], facts)
for shard in range(10000):
    index.append(rows_of(shard), [str(shard) + ".jpg"])
"""


def builders_at_once(folder: Path, images: Path, tries: int) -> Outcome:
    """Two processes build one cache: one builds, both have it; in every second try one is killed.

    Args:
        folder: gets the caches.
        images: folder of the images, at any depth.
        tries: how often.
    """
    rows = [_build_twice(folder / f"cache_{number}", images, number % 2) for number in range(tries)]
    return _outcome("two builders of one image cache, one killed", rows, "one whole cache")


def _build_twice(folder: Path, images: Path, kill: int) -> list[str]:
    builders = [_start(BUILD, images, folder) for _ in range(2)]
    if kill:
        while not list(folder.glob("*.partial")) and builders[0].poll() is None:
            time.sleep(0.002)
        builders[0].kill()
    texts = [builder.communicate(timeout=120)[0] for builder in builders]
    problems = [f"{b.returncode}: {t[-200:]}" for b, t in zip(builders, texts, strict=True)
                if b.returncode and not (kill and b is builders[0])]  # fmt: skip
    if not kill and sum("cache    building" in text for text in texts) != 1:
        problems.append("not exactly one of them built")
    (cache,) = folder.glob("*.cache")
    CacheFile(cache).verify(1)
    return problems


def killed_appends(folder: Path, tries: int) -> Outcome:
    """SIGKILL while shards are appended to a search index: what was appended is whole, in order."""
    moments = random.Random(0)
    rows = [_kill_append(folder / f"index_{n}", moments.uniform(0, 0.3)) for n in range(tries)]
    return _outcome("search index killed while it grows", rows, "whole, appended to again")


def _kill_append(folder: Path, seconds: float) -> list[str]:
    process = _start(APPEND, folder)
    while not (folder / "index.json").exists() and process.poll() is None:
        time.sleep(0.002)
    time.sleep(seconds)
    process.kill()
    text = process.communicate()[0]
    if not (folder / "index.json").exists():
        return [f"nothing was appended: {text[-300:]}"]
    index = EmbeddingIndex.open(folder)  # raises what would be lost
    index.append(rows_of(len(index)), [f"{len(index)}.jpg"])
    found = np.concatenate(EmbeddingIndex.open(folder).arrays())
    expected = np.concatenate([rows_of(shard) for shard in range(len(found))])
    names = [f"{shard}.jpg" for shard in range(len(found))]
    whole = (found == expected).all() and EmbeddingIndex.open(folder).paths() == names
    return [] if whole else [f"the {len(found)} rows are not those appended"]


def _start(program: str, *words: Path) -> subprocess.Popen:
    places = [str(ROOT), str(ROOT / "tests")]
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*places, *filter(None, sys.path)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _outcome(fault: str, rows: list[list[str]], note: str) -> Outcome:
    problems = [problem for row in rows for problem in row]
    return Outcome(fault, len(rows), sum(not row for row in rows), "; ".join(problems[:3]) or note)
