"""What the documents name exists: paths, commands with their flags, keys, quoted files."""

import re
import shlex

import pytest
from source_tree import ROOT, assert_none_found

from wrimnet.config import setup_cfg
from wrimnet.config.setup import all_keys

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "datasets/*.md")
    for path in ROOT.glob(pattern)
)
# Made by the commands beside them, or looked for on the user's machine.
MADE = ("datasets/synthetic", "datasets/pairs", "datasets/LLCM")
TOPS = "configs|datasets|docs|examples|tests|tools|wrimnet"
PATH = re.compile(rf"(?<![\w/.-])(?:{TOPS})/[\w./*-]*[\w*]")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
KEY = re.compile(r"(?<![\w.])(?:DATALOADER|DATASETS|INPUT|MODEL|SOLVER|TEST)(?:\.[A-Z][A-Z0-9_]*)+")
FLAG = re.compile(r"--[a-z][a-z-]*")


def read(document):
    return (ROOT / document).read_text(encoding="utf-8")


def missing_paths(text):
    found = sorted(set(PATH.findall(text)))
    return [
        p
        for p in found
        if not (p.startswith(MADE) or list(ROOT.glob(p)) or list(ROOT.glob(f"{p}.*")))
    ]


def broken_links(document, text):
    folder = (ROOT / document).parent
    return [target for target in LINK.findall(text) if not (folder / target).exists()]


def shell_blocks(text):
    """The lines of fenced blocks without a language or of a shell's."""
    parts = re.split(r"^```", text, flags=re.MULTILINE)[1::2]  # between fences
    return "".join(part.partition("\n")[2] for part in parts if re.match(r"(sh|bash)?\n", part))


def commands(text):
    """Commands in blocks and in running text; lines that end in a backslash are joined."""
    lines = shell_blocks(text).replace("\\\n", " ").splitlines()
    inline = re.findall(
        r"`((?:python|make|torchrun) [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S)
    )
    return [
        line for line in (*lines, *inline) if line.startswith(("python ", "make ", "torchrun "))
    ]


def flags_of(tool):
    """Every flag that a tool's source or the shared command line defines."""
    sources = [
        ROOT / tool,
        ROOT / "wrimnet/command_line.py",
    ]
    return set(FLAG.findall("".join(path.read_text(encoding="utf-8") for path in sources)))


def wrong_command(line):
    """What is wrong with a command, "" if nothing is."""
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        targets = [word for word in words[1:] if "=" not in word]
        unknown = [t for t in targets if f"\n{t}:" not in read("Makefile")]
        return f"{line}: no target {unknown}" if unknown else ""
    tools = [word for word in words if re.fullmatch(r"(tools|tests)/\w+\.py", word)]
    if not tools or not (ROOT / tools[0]).exists():
        return "" if not tools else f"{line}: no file {tools[0]}"
    unknown = set(words[words.index(tools[0]) :]) & {w for w in words if w.startswith("--")}
    unknown -= flags_of(tools[0])
    return f"{line}: no flag {sorted(unknown)}" if unknown else ""


def unknown_keys(text, known):
    """Keys that no table holds; the name of a group of keys is one, too."""
    groups = {name.rpartition(".")[0] for name in known}
    groups |= {group.rpartition(".")[0] for group in groups}
    return sorted(set(KEY.findall(text)) - known - groups)


def misquoted(text):
    """Quoted files that say something else now."""
    found = []
    for path, quote in re.findall(r"```\w+\n# (examples/\S+)\n(.*?)```", text, re.DOTALL):
        source = read(path)
        found += [path for part in quote.split("...\n") if part.strip() not in source]
    return found


@pytest.fixture(scope="module")
def known_keys():
    cfg = setup_cfg(str(ROOT / "configs/Base-TwoStream.yml"))
    return {key.name for key in all_keys(cfg)}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_names_what_is_there(document, known_keys):
    text = read(document)
    wrong = [f"no such path: {path}" for path in missing_paths(text)]
    wrong += [f"broken link: {target}" for target in broken_links(document, text)]
    wrong += [said for line in commands(text) if (said := wrong_command(line))]
    wrong += [f"quoted otherwise: {path}" for path in misquoted(text)]
    own = {"MODEL.CENTER.WEIGHT", "MODEL.CENTER.SCALE", "MODEL.BACKBONE.MY_WIDTH"}
    wrong += [f"no such key: {key}" for key in unknown_keys(text, known_keys | own)]
    assert_none_found(f"{document}: {line}" for line in wrong)


@pytest.mark.parametrize(
    "text",
    [
        "see wrimnet/losses/gone.py",
        "[a](docs/gone.md)",
        "```sh\npython tools/gone.py\n```",
        "```\npython tools/demo.py --gone\n```",
        "call `make gone` first",
        "set SOLVER.GONE",
        "```yaml\n# examples/own_method/configs/method.yml\nGONE: 1\n```",
    ],
)
def test_what_is_not_there_is_found(text, known_keys):
    found = missing_paths(text) or broken_links("README.md", text) or misquoted(text)
    found = found or [said for line in commands(text) if (said := wrong_command(line))]
    assert found or unknown_keys(text, known_keys)
