"""Embeddings of the images of one modality, made by one model, in a folder on disk.

::

    index.json              model hash, modality, D, number format and number of shards
    embeddings_00000.npy    (n, D) L2-normalized rows
    paths_00000.json        n paths, in the order of the rows

Appending writes a new shard and then replaces ``index.json``: whatever goes wrong before that last
step leaves the index as it was.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wrimnet.atomic_files import write_file
from wrimnet.modality import MODALITY_NAMES
from wrimnet.run_folder import read_json, write_json

DTYPES = ("float32", "float16")
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
    """An index in a folder, which need not be there before the first :meth:`append`.

    One process appends at a time: who appends holds :func:`wrimnet.atomic_files.sole_writer`.
    """

    def __init__(self, folder: str | Path, facts: IndexFacts, num_shards: int = 0) -> None:
        if facts.modality not in MODALITY_NAMES or facts.dtype not in DTYPES or facts.dim < 1:
            raise ValueError(
                f"{facts}: expected a modality of {MODALITY_NAMES}, a dtype of {DTYPES}, dim >= 1"
            )
        self.folder, self.facts, self.num_shards = Path(folder), facts, num_shards

    @classmethod
    def open(cls, folder: str | Path) -> "EmbeddingIndex":
        """Opens an index.

        Raises:
            FileNotFoundError: there is none in the folder.
            ValueError: it is damaged: its files do not belong together.
        """
        path = Path(folder, INDEX_FILE)
        if not path.is_file():
            raise FileNotFoundError(f"no index in {folder}: it has no {INDEX_FILE}")
        try:
            content = read_json(path)
            index = cls(folder, IndexFacts(**content["facts"]), content["num_shards"])
            rows, paths = sum(map(len, index.arrays())), len(index.paths())
            if rows != paths:
                raise ValueError(f"{rows} embeddings of {paths} images")
        except (ValueError, KeyError, TypeError, RecursionError, OSError, EOFError) as error:
            reason = f"{type(error).__name__}: {error}"[:200]
            raise ValueError(
                f"the index {folder} is damaged ({reason}); index the images again into a new "
                "folder"
            ) from error
        return index

    def __len__(self) -> int:
        return sum(map(len, self.arrays()))

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
            ValueError: they have another one.
        """
        if modality != self.facts.modality:
            raise ValueError(
                f"the index {self.folder} holds {self.facts.modality} images, not {modality} ones; "
                "make an index for each modality"
            )

    def append(self, embeddings: np.ndarray, paths: Sequence[str]) -> None:
        """Adds a shard.

        Args:
            embeddings: (n, D), L2-normalized rows.
            paths: n, none of them in the index already.

        Raises:
            ValueError: shape or lengths do not fit; nothing is written.
            OSError: the disk refuses; the index is as it was.
        """
        if embeddings.shape != (len(paths), self.facts.dim):
            raise ValueError(
                f"embeddings have shape {embeddings.shape}, expected {(len(paths), self.facts.dim)}"
            )
        length = np.linalg.norm(embeddings.astype(np.float32), axis=1)
        if not (np.abs(length - 1) < 1e-2).all():
            row = int(np.flatnonzero(~(np.abs(length - 1) < 1e-2))[0])
            raise ValueError(
                f"the embedding of {paths[row]} has L2 norm {length[row]:.4g}, expected 1"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        stored = np.ascontiguousarray(embeddings, dtype=self.facts.dtype)
        write_file(self._array_file(self.num_shards), lambda file: np.save(file, stored))
        write_json(self._paths_file(self.num_shards), list(paths))
        content = {"facts": asdict(self.facts), "num_shards": self.num_shards + 1}
        write_json(self.folder / INDEX_FILE, content)
        self.num_shards += 1

    def arrays(self) -> list[np.ndarray]:
        """Returns each shard's embeddings (n, D), mapped from the disk."""
        files = map(self._array_file, range(self.num_shards))
        return [np.load(file, mmap_mode="r") for file in files]

    def paths(self) -> list[str]:
        """Returns the path of every row."""
        shards: list[Any] = [read_json(self._paths_file(n)) for n in range(self.num_shards)]
        return [path for shard in shards for path in shard]

    def _array_file(self, number: int) -> Path:
        return self.folder / f"embeddings_{number:05d}.npy"

    def _paths_file(self, number: int) -> Path:
        return self.folder / f"paths_{number:05d}.json"
