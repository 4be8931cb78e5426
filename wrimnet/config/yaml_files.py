"""Reads configuration files: safe YAML, ``_BASE_`` inheritance from local files."""

from pathlib import Path
from typing import Any

import yaml

BASE_KEY = "_BASE_"


def read_config_file(path: str | Path) -> dict[str, Any]:
    """Reads a configuration file with the files it inherits from.

    Args:
        path: YAML file; ``_BASE_`` in it names another one, relative to its own folder.

    Returns:
        The nested keys, those of ``path`` over those of its bases.

    Raises:
        FileNotFoundError: a file that does not exist.
        ValueError: broken YAML, a Python tag, a remote or circular base.
    """
    return _read_with_bases(Path(path), ())


def read_overlay_file(path: str | Path) -> dict[str, Any]:
    """Reads an overlay: keys laid over a configuration, without a ``_BASE_`` of its own."""
    content = _read_yaml(Path(path))
    if BASE_KEY in content:
        raise ValueError(f"overlay {path} has a {BASE_KEY}; an overlay holds only the keys it sets")
    return content


def _read_with_bases(path: Path, opened: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in opened:
        raise ValueError(f"config file {path} inherits from itself through {BASE_KEY}")
    content = _read_yaml(path)
    if BASE_KEY not in content:
        return content
    base_path = _base_path(path, content.pop(BASE_KEY))
    base = _read_with_bases(base_path, (*opened, path.resolve()))
    return _laid_over(base, content)


def _base_path(path: Path, base: object) -> Path:
    if not isinstance(base, str) or "://" in base:
        raise ValueError(f"{BASE_KEY}: {base!r} in {path} is not the path of a local file")
    return path.parent / Path(base).expanduser()


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"config file {path} does not exist")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.constructor.ConstructorError as error:
        raise ValueError(
            f"config file {path} holds a YAML tag, which is refused since tags can run code: "
            f"{error.problem}{error.problem_mark}"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"config file {path} is not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"config file {path} holds {content!r}, expected KEY: value lines")
    return content


def _laid_over(base: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in content.items():
        both_nodes = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _laid_over(merged[key], value) if both_nodes else value
    return merged
