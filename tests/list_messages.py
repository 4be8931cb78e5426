"""Lists every string that a user can read: errors, log lines, printed text, help and keys.

    python tests/list_messages.py            file:line, then the text; values in braces

Read it from top to bottom before a release; docstrings are not in it.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOG = {"info", "warning", "error", "exception", "critical"}
CALLS = {"print", "Key", "_under", "print_error", "on_problem", "add_argument", "make_parser"}


def text_of(node: ast.AST) -> str:
    """A literal, or an f-string with its values as in the source; "" for anything else."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=values):
            return "".join(text_of(v) or "{" + ast.unparse(v)[3:-2] + "}" for v in values)
        case ast.FormattedValue(value=value):
            return "{" + ast.unparse(value) + "}"
        case ast.BinOp(left=left, right=right):
            return text_of(left) + text_of(right)
    return ""


def is_seen(node: ast.AST) -> bool:
    """Whether a statement or call hands its strings to the user."""
    if isinstance(node, ast.Raise):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    return name in CALLS | LOG or name.endswith(("Error", "_error", "Finding"))


def messages_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields line and text of each sentence: a string with a space in it, once."""
    seen = set()
    for node in filter(is_seen, ast.walk(tree)):
        for part in ast.walk(node):
            text = text_of(part)
            where = (getattr(part, "lineno", 0), getattr(part, "col_offset", 0))
            inside = any(where[0] == line and text in known for line, known in seen)
            if " " in text.strip() and not inside:
                seen.add((where[0], text))
                yield where[0], text


def main() -> None:
    """Prints the listing."""
    for folder in ("wrimnet", "tools"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for line, text in sorted(set(messages_of(tree))):
                print(f"{path.relative_to(ROOT)}:{line}: {' '.join(text.split())}")


if __name__ == "__main__":
    sys.exit(main())
