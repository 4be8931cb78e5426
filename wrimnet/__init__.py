"""WRIM-Net (ECCV 2024) for visible-infrared person re-identification, as a FastReID plugin.

The names of ``__all__`` are the Python interface, described in ``docs/python.md``. Importing this
package imports neither PyTorch nor FastReID: each name is looked up when it is first used.
``import wrimnet.plugin`` registers the model, the heads, the backbones and the datasets.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from wrimnet.version import __version__

if TYPE_CHECKING:
    from wrimnet.config.setup import setup_cfg
    from wrimnet.data.images import ImageItem
    from wrimnet.evaluation.features import save_features
    from wrimnet.inference.embedder import Embedder, load
    from wrimnet.interface import (
        evaluate,
        load_dataset,
        make_synthetic_dataset,
        read_metrics,
        read_results,
        score,
        train,
    )

__all__ = [
    "Embedder",
    "ImageItem",
    "__version__",
    "evaluate",
    "load",
    "load_dataset",
    "make_synthetic_dataset",
    "read_metrics",
    "read_results",
    "save_features",
    "score",
    "setup_cfg",
    "train",
]
_MODULES = {
    "Embedder": "wrimnet.inference.embedder",
    "ImageItem": "wrimnet.data.images",
    "load": "wrimnet.inference.embedder",
    "save_features": "wrimnet.evaluation.features",
    "setup_cfg": "wrimnet.config.setup",
}  # of the names above; of the others wrimnet.interface


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'wrimnet' has no attribute {name!r}; it has {__all__}")
    return resolve_name(f"{_MODULES.get(name, 'wrimnet.interface')}:{name}")


def __dir__() -> list[str]:
    return sorted(__all__)
