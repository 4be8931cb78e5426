"""Reads a YAML file of keys: safe, one value per key, integers in decimal notation."""

import re
import reprlib
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml

from wrimnet.atomic_files import require_file

_INT, _FLOAT, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "merge"))


class _Loader(yaml.SafeLoader):
    """Safe YAML whose keys differ and whose aliases stand for a scalar or a list of scalars.

    Integers and floats are decimal: YAML 1.1 also reads 010 as 8 and 1:30 as 90.
    """

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, rule) for tag, rule in rules if tag not in (_INT, _FLOAT)]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._allowed_anchors: set[str] = set()

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) and event.anchor not in self._allowed_anchors:
            if not _is_row(self.anchors.get(event.anchor)):
                text = f"the alias *{event.anchor} names keys or itself; write them out"
                raise yaml.composer.ComposerError(None, None, text, event.start_mark)
            if event.anchor in self.anchors:  # an unknown one is an error of YAML's own
                self._allowed_anchors.add(event.anchor)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        _check_no_tuple(node, [part for pair in node.value for part in pair])
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                text = "expected the name of a key before ':'"
                raise yaml.composer.ComposerError(None, None, text, key.start_mark)
        repeated = first_repeated(key.value for key, _ in node.value)
        if repeated is not None:
            key = node.value[repeated][0]
            text = f"{reprlib.repr(key.value)} is set twice"
            raise yaml.composer.ComposerError(None, None, text, key.start_mark)
        return super().construct_mapping(node, deep)

    def construct_sequence(self, node: yaml.SequenceNode, deep: bool = False) -> list:
        _check_no_tuple(node, node.value)
        return super().construct_sequence(node, deep)


_Loader.add_implicit_resolver(_INT, re.compile(r"[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(r"([-+]?[0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?$"),
    list("-+0123456789."),
)


def _check_no_tuple(node: yaml.CollectionNode, parts: Sequence[yaml.Node]) -> None:
    """Refuses a tuple in {...} or [...], which YAML splits at its commas."""
    texts = [part.value if isinstance(part, yaml.ScalarNode) else "" for part in parts]
    starts = [i for i, text in enumerate(texts) if text[:1] == "(" and ")" not in text]
    if not node.flow_style or not starts or parts[starts[0]].style is not None:
        return
    rest = [text for text in texts[starts[0] :] if text]
    end = next((i for i, text in enumerate(rest) if text[-1] == ")"), 0)
    elements = [text.strip("() ") for text in rest[: end + 1]]
    text = f"a tuple inside braces or brackets; write [{', '.join(filter(None, elements))}]"
    raise yaml.composer.ComposerError(None, None, text, parts[starts[0]].start_mark)


def _is_row(node: yaml.Node | None) -> bool:
    if isinstance(node, yaml.SequenceNode):  # one without an end contains the alias itself
        return bool(node.end_mark) and all(isinstance(n, yaml.ScalarNode) for n in node.value)
    return node is None or isinstance(node, yaml.ScalarNode)


def first_repeated(values: Iterable[Hashable]) -> int | None:
    """Returns the position of the first value that equals an earlier one; None without one."""
    seen: set[Hashable] = set()
    for position, value in enumerate(values):
        if value in seen:
            return position
        seen.add(value)
    return None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Returns the keys of a YAML file by their dotted names, whether it nests them or not.

    Raises FileNotFoundError, or ValueError: broken YAML, a tag, a key that is set twice.
    """
    leaves: dict[str, Any] = {}
    for name, value in _leaves(load_yaml(path)):
        if name in leaves:
            raise ValueError(
                f"config file {path} sets {name} twice, nested and by its dotted name; keep one"
            )
        leaves[name] = value
    return leaves


def load_yaml(path: str | Path) -> dict[Any, Any]:
    """Returns the content of a YAML file as it is nested; errors of :func:`read_yaml`."""
    require_file(path, "config file")
    try:
        with Path(path).open(encoding="utf-8") as file:  # whose name is in the messages
            content = yaml.load(file, _Loader)
    except yaml.constructor.ConstructorError as error:
        raise ValueError(
            f"config file {path} holds a YAML tag, which is refused since tags can run code: "
            f"{error.problem}{error.problem_mark}"
        ) from error
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, RecursionError) as error:
        raise ValueError(f"config file {path} is not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(
            f"config file {path} holds {reprlib.repr(content)}, expected KEY: value lines"
        )
    return content


def _leaves(content: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
