"""Which code and which weights a result was made with."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wrimnet.atomic_files import file_sha256
from wrimnet.evaluation.source_commit import source_commit
from wrimnet.run_folder import RESULTS
from wrimnet.version import __version__


def describe_code() -> dict[str, str | None]:
    """Returns the versions of this package and of torch, and the commit where git knows one.

    A commit with changed files is marked "+changes".
    """
    return {
        "wrimnet": __version__,
        "torch": torch.__version__,
        "commit": source_commit(Path(__file__)),
    }


def describe_machine() -> dict[str, str]:
    """Returns the processor, the GPU where there is one, and the versions that numbers rest on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "gpu": gpu,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }


def describe_environment(device: str) -> dict[str, str]:
    """Returns where a run takes place: code, machine, system and device."""
    code = {name: value or "unknown" for name, value in describe_code().items()}
    system = f"{platform.system()} {platform.release()}"
    return {**code, **describe_machine(), "system": system, "device": device}


def describe_weights(path: str | None) -> dict[str, str] | None:
    """Returns path and sha256 of a weights file, or None for weights that are in memory only."""
    return None if path is None else {"path": str(path), "sha256": file_sha256(path)}


def scored_sha256(content: Mapping[str, Any]) -> str | None:
    """Returns the sha256 of the weights that results.json was computed with, None if unknown."""
    return (content["description"].get("weights") or {}).get("sha256")


def check_scored(content: Mapping[str, Any], file: Path) -> None:
    """Refuses results of other weights than those that lie beside them, where these are there."""
    scored = scored_sha256(content)
    if scored and file.is_file() and scored != file_sha256(file):
        other = content["description"]["weights"]["path"]
        raise ValueError(
            f"{file.parent / RESULTS} is from other weights ({other}) than {file.name}; restore "
            f"the right file, or remove {RESULTS} and use --resume, which evaluates again"
        )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8", "replace").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
