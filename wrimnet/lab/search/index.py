"""Embeddings of the images of one modality, made by one model, in a folder on disk.

::

    index.json              model hash, modality, D, number format, and the shards with their sha256
    embeddings_00000.npy    (n, D) rows of unit length
    paths_00000.json        n paths, in the order of the rows

Appending writes a new shard and then replaces ``index.json``: whatever goes wrong before that last
step leaves the index as it was. ``index.json`` carries the sha256 of its own content, and one
process appends at a time: a second one is refused, and what was added meanwhile is kept.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wrimnet.atomic_files import sole_writer
from wrimnet.evaluation.provenance import file_sha256
from wrimnet.lab.search import DTYPES
from wrimnet.lab.search.hashed_files import write_hashed_file, write_hashed_json
from wrimnet.modality import MODALITY_NAMES

FORMAT = 2
INDEX_FILE = "index.json"


@dataclass(frozen=True, kw_only=True)
class IndexFacts:
    """What every embedding of an index has in common.

    Attributes:
        model: name of the model, for people.
        model_hash: of everything that shapes an embedding.
        modality: "visible" or "infrared".
        dim: D.
        dtype: number format of the stored embeddings, "float32" or "float16".
    """

    model: str
    model_hash: str
    modality: str
    dim: int
    dtype: str = "float32"


class EmbeddingIndex:
    """An open index; see :meth:`create` and :meth:`open`.

    Args:
        folder: where it lies.
        facts: what its embeddings have in common.
        shards: entries of ``index.json``.
    """

    def __init__(self, folder: Path, facts: IndexFacts, shards: list[dict[str, Any]]) -> None:
        self.folder = folder
        self.facts = facts
        self._shards = shards

    @classmethod
    def create(cls, folder: str | Path, facts: IndexFacts) -> "EmbeddingIndex":
        """Starts an empty index; nothing is written before the first :meth:`append`.

        Raises:
            ValueError: the folder holds an index already, or a fact is impossible.
        """
        if Path(folder, INDEX_FILE).exists():
            raise ValueError(f"{folder} holds an index already; open it to append to it")
        if facts.modality not in MODALITY_NAMES or facts.dtype not in DTYPES or facts.dim < 1:
            raise ValueError(
                f"{facts}: expected a modality of {MODALITY_NAMES}, a dtype of {DTYPES}, dim >= 1"
            )
        return cls(Path(folder), facts, [])

    @classmethod
    def open(cls, folder: str | Path) -> "EmbeddingIndex":
        """Opens an index after checking every file against its sha256.

        Raises:
            FileNotFoundError: there is no index in the folder.
            ValueError: the index is damaged; the message names the file.
        """
        path = Path(folder, INDEX_FILE)
        if not path.is_file():
            raise FileNotFoundError(f"no index in {folder}: it has no {INDEX_FILE}")
        try:
            content = _read_index(path)
            index = cls(Path(folder), IndexFacts(**content["facts"]), content["shards"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"[:200]
            raise ValueError(f"{path} is damaged ({reason}); {_REBUILD}") from error
        for entry in index._files():
            _verify(Path(folder, entry["file"]), entry["sha256"])
        return index

    def __len__(self) -> int:
        return sum(shard["count"] for shard in self._shards)

    def check_model(self, model_hash: str) -> None:
        """Refuses embeddings of another model: they would mean nothing here.

        Raises:
            ValueError: the hash is another one.
        """
        if model_hash != self.facts.model_hash:
            raise ValueError(
                f"the index {self.folder} was made by another model ({self.facts.model}, hash "
                f"{self.facts.model_hash[:12]}; this one is {model_hash[:12]}); use that model, or "
                "make an index of its own for this one"
            )

    def check_modality(self, modality: str) -> None:
        """Refuses images of another modality than the index's.

        Raises:
            ValueError: they are of another one.
        """
        if modality != self.facts.modality:
            raise ValueError(
                f"the index {self.folder} holds {self.facts.modality} images, not {modality} ones; "
                "make an index for each modality"
            )

    def append(self, embeddings: np.ndarray, paths: Sequence[str]) -> None:
        """Adds a shard.

        Args:
            embeddings: (n, D), rows of unit length.
            paths: n, none of them in the index already.

        Raises:
            ValueError: shapes, lengths or paths do not fit; nothing is written.
            OSError: the disk refuses, or another process appends; the index is as it was.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with sole_writer(self.folder, "append when it has ended"):
            self._take_in_others()
            self._check_rows(embeddings, paths)
            self._write_shard(embeddings, paths)

    def _take_in_others(self) -> None:
        """Takes in what another process has appended since this index was opened."""
        if (self.folder / INDEX_FILE).exists():
            now = EmbeddingIndex.open(self.folder)
            if now.facts != self.facts:
                raise ValueError(f"the index {self.folder} was replaced by another one; open it")
            self._shards = now._shards

    def _write_shard(self, embeddings: np.ndarray, paths: Sequence[str]) -> None:
        number = len(self._shards)
        arrays, names = f"embeddings_{number:05d}.npy", f"paths_{number:05d}.json"
        stored = np.ascontiguousarray(embeddings, dtype=self.facts.dtype)
        files = [
            {"file": arrays, "sha256": write_hashed_file(self.folder / arrays, _saver(stored))},
            {"file": names, "sha256": write_hashed_json(self.folder / names, list(paths))},
        ]
        shards = [*self._shards, {"count": len(stored), "files": files}]
        content = {"format": FORMAT, "facts": asdict(self.facts), "shards": shards}
        write_hashed_json(self.folder / INDEX_FILE, {**content, "sha256": _digest(content)})
        self._shards = shards

    def arrays(self) -> list[np.ndarray]:
        """Returns each shard's embeddings (n, D), mapped from the disk."""
        return [
            np.load(self.folder / shard["files"][0]["file"], mmap_mode="r")
            for shard in self._shards
        ]

    def paths(self) -> list[str]:
        """Returns the path of every row."""
        return [
            path
            for shard in self._shards
            for path in json.loads((self.folder / shard["files"][1]["file"]).read_text("utf-8"))
        ]

    def _files(self) -> list[dict[str, str]]:
        return [entry for shard in self._shards for entry in shard["files"]]

    def _check_rows(self, embeddings: np.ndarray, paths: Sequence[str]) -> None:
        if embeddings.ndim != 2 or embeddings.shape[1] != self.facts.dim or not len(embeddings):
            raise ValueError(
                f"embeddings have shape {embeddings.shape}, expected (n, {self.facts.dim}), n >= 1"
            )
        if len(paths) != len(embeddings):
            raise ValueError(f"{len(embeddings)} embeddings come with {len(paths)} paths")
        length = np.linalg.norm(embeddings.astype(np.float32), axis=1)
        if not (np.abs(length - 1) < 1e-2).all():
            row = int(np.flatnonzero(~(np.abs(length - 1) < 1e-2))[0])
            raise ValueError(
                f"the embedding of {paths[row]} has length {length[row]:.4g}, expected 1"
            )
        known = set(self.paths())
        twice = [path for path in paths if path in known]
        if twice or len(set(paths)) < len(paths):
            raise ValueError(f"{(twice or list(paths))[0]} is in the index already, or comes twice")


_REBUILD = "index the images again into a new folder"


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_index(path: Path) -> dict[str, Any]:
    """Reads the list of files; raises ValueError or KeyError unless it is what was written."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']!r}, expected {FORMAT}")
    if content.pop("sha256") != _digest(content):
        raise ValueError("it is not what was written")
    names = [entry["file"] for shard in content["shards"] for entry in shard["files"]]
    foreign = [name for name in names if Path(name).name != name]
    if foreign:
        raise ValueError(f"{foreign[0]!r} is no file of this folder")
    return content


def _saver(array: np.ndarray) -> Any:
    return lambda file: np.save(file, array)


def _verify(path: Path, digest: str) -> None:
    if not path.is_file():
        raise ValueError(f"the index is damaged: {path} is missing; {_REBUILD}")
    if file_sha256(path) != digest:
        raise ValueError(f"the index is damaged: {path} is not what was written; {_REBUILD}")
