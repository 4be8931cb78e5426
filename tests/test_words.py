"""Documents, docstrings and messages use the field's words, and README stays short."""

import ast
import re

import pytest
from list_messages import messages_of
from source_tree import ROOT, assert_none_found
from test_documents import DOCUMENTS, read

NOT = {  # what is not written -> what is
    r"drawn (people|pedestrians|tasks?)|generated data\b": "synthetic data",
    r"base rate|(?<!learning )\brate is lowered": "learning rate",
    r"unit length|length one": "L2-normalized",
    r"\broofs?\b": "roofline",
    r"kept memory|memory kept": "activation memory",
    r"(device|GPU|card) that is not there|fake device": "simulated CUDA device",
    r"learnt weights|whatever fits": "pretrained weights; loads matching parameters only",
    r"\b(kill )?drills?\b": "fault-injection test",
    r"\bdoctor\b": "dataset check",
    r"\brails?\b": "(leave it out)",
    r"[,|:] not shown": "not significant",
    r"of before\b|writes it anew": "out of date; regenerate it with ...",
    r"once the (reason|cause) is mended": "fix the cause and rerun",
    r"not got on": "made no progress for",
    r"hardly meant|is that meant": "valid but unusual",
    r"\b(told|tells)\b": "reports, warns",
    r"(gallery|trial) draws?\b|official draw\b": "random gallery sampling, trial",
    r"weights go into|takes what": "loads matching parameters only",
    r"part of the forward( pass)? twice": "activation checkpointing",
    r"name is none\b": "other files are ignored",
    r"places (of|in) (the )?photographs": "scene patches",
    r"(?<!a person )\b(stands|lies) (in|at|on|under|below|beside|before)\b": "is",
}
IN_DOCUMENTS = {  # elsewhere some of these are things: a room of a camera, the map of a function
    r"\b(doors?|house|rooms?|borders?)\b": "(leave it out)",
    r"(?<!feature )(?<!gate )(?<!similarity )\bmaps?\b(?! [a-z]* ?(to|over)\b)": "feature map",
    r"\b(stands|lies)\b": "is",
}
MOST_WORDS_OF_README = 700
MOST_WORDS = 11_000  # of README, CONTRIBUTING, datasets/README and docs/


def prose_of(document):
    """A document without its fenced blocks, code spans and link targets."""
    text = re.sub(r"^```.*?^```", "", read(document), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`]*`|\]\([^)]*\)", " ", text)


def docstrings_of(tree):
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return [ast.get_docstring(node) or "" for node in nodes]


def banned_words(text, words=NOT):
    flat = " ".join(text.split())
    return [f"{m[0]!r}: {word}" for p, word in words.items() for m in re.finditer(p, flat)]


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d != "CHANGELOG.md"])
def test_documents_use_the_words_of_the_field(document):
    assert_none_found(banned_words(prose_of(document), NOT | IN_DOCUMENTS))


@pytest.mark.parametrize("folder", ["wrimnet", "tools", "examples"])
def test_docstrings_and_messages_use_the_words_of_the_field(folder):
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = [*docstrings_of(tree), *(text for _, text in messages_of(tree))]
        found += [f"{path.relative_to(ROOT)}: {w}" for text in texts for w in banned_words(text)]
    assert_none_found(found)


@pytest.mark.parametrize(
    "text", ["as told", "a device that is not there", "of\nunit length", "ten gallery draws"]
)
def test_a_word_put_back_is_found(text):
    assert banned_words(text)


def test_readme_keeps_its_budget():
    assert len(read("README.md").split()) <= MOST_WORDS_OF_README


def test_documents_keep_their_budget():
    words = {d: len(read(d).split()) for d in DOCUMENTS if d != "CHANGELOG.md"}
    assert sum(words.values()) <= MOST_WORDS, words
