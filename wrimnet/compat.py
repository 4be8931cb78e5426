"""The import shim: four names FastReID 1.4.0 expects and today's installations lack.

1. ``torch._six.string_classes`` (gone since torch 2.0), read by ``fastreid/data/build.py``.
2. ``collections.Mapping`` (gone since Python 3.10), read by two FastReID modules.
3. The operator schemas ``torchvision::nms`` and ``torchvision::qnms``: PyPI's torchvision is a CUDA
   build whose C++ library cannot load beside a CPU-only torch, and its Python side then fails.
4. ``faiss`` and ``sklearn``, imported by FastReID at module top for re-ranking and ROC curves that
   this project computes itself: stubbed where they are not installed.

PyTorch itself is not imported here: the schemas are registered when torchvision is imported first.
And it sets CUBLAS_WORKSPACE_CONFIG, which PyTorch reads at the first matrix product of a process,
whether or not that one is deterministic.
"""

import collections
import collections.abc
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from typing import Any

_TORCHVISION_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_KEPT_ALIVE: list[Any] = []


def apply_import_shim() -> None:
    """Adds what FastReID's imports need; calling it again changes nothing."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for DETERMINISTIC on CUDA
    _provide_torch_six()
    _provide_collections_mapping()
    if "torchvision" not in sys.modules and not _SCHEMAS_FINDER.is_used:
        sys.meta_path.insert(0, _SCHEMAS_FINDER)
        _SCHEMAS_FINDER.is_used = True
    _stub_if_missing("faiss", METRIC_L2=1)
    _stub_if_missing("sklearn", metrics=_stub_if_missing("sklearn.metrics"))


def _provide_torch_six() -> None:
    if "torch._six" not in sys.modules:
        module = types.ModuleType("torch._six")
        module.string_classes = (str, bytes)  # type: ignore[attr-defined]
        sys.modules["torch._six"] = module


def _provide_collections_mapping() -> None:
    if not hasattr(collections, "Mapping"):
        collections.Mapping = collections.abc.Mapping  # type: ignore[attr-defined]


class _SchemasFinder(importlib.abc.MetaPathFinder):
    """Finds no module; registers the schemas when torchvision is about to be imported."""

    is_used = False

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _provide_torchvision_schemas()


_SCHEMAS_FINDER = _SchemasFinder()


def _provide_torchvision_schemas() -> None:
    if _torchvision_library_loads():
        return
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for schema in _TORCHVISION_SCHEMAS.values():
        library.define(schema)
    _KEPT_ALIVE.append(library)  # the schemas live as long as this object


def _torchvision_library_loads() -> bool:
    """Whether torchvision's C++ library registers its operators in this process."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True  # nothing to repair: importing torchvision will say that it is missing
    for name in ("_C", "_C_stable"):  # torchvision 0.29 renamed it
        extension = importlib.machinery.PathFinder.find_spec(name, spec.submodule_search_locations)
        if extension is not None and extension.origin is not None:
            return _loads(extension.origin)
    return False


def _loads(library: str) -> bool:
    import torch

    try:
        torch.ops.load_library(library)
    except OSError:
        return False
    return True


def _stub_if_missing(name: str, **attributes: object) -> types.ModuleType | None:
    if name in sys.modules or _is_installed(name):
        return None
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None)
    for attribute, value in attributes.items():
        setattr(module, attribute, value)
    sys.modules[name] = module
    return module


def _is_installed(name: str) -> bool:
    package = name.partition(".")[0]
    return importlib.util.find_spec(package) is not None


apply_import_shim()
