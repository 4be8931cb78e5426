"""The commands of docs/using_a_model.md on a tiny model, and what the tools refuse."""

import json
import re
import runpy
import shlex
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from search import warn_of_colors
from source_tree import ROOT
from tiny_runs import contents_of

import wrimnet
from wrimnet.lab.search.index import EmbeddingIndex

PAGE = (ROOT / "docs" / "using_a_model.md").read_text(encoding="utf-8")
COMMANDS = re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a documented command in this process: exit code, stdout, stderr."""

    def run_command(line):
        program, tool, *arguments = shlex.split(line)
        assert program == "python"
        monkeypatch.setattr(sys, "argv", [tool, *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / tool), run_name="__main__")
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    return run_command


@pytest.fixture
def workspace(finished_run, monkeypatch):
    """Its run is as training left it after every tool; what a tool makes is named here."""
    monkeypatch.chdir(finished_run.workspace)
    before = contents_of(finished_run.run)
    yield finished_run.workspace
    made = {"figures", "figures.json", "report.html", "cost.json"}
    after = contents_of(finished_run.run)
    assert {name.partition("/")[0] for name in after.keys() - before.keys()} <= made
    kept = [name for name in before if name.partition("/")[0] not in made]
    assert len(kept) >= 5
    assert {name: after.get(name) for name in kept} == {name: before[name] for name in kept}


def test_an_evaluation_leaves_the_run_alone(workspace, run):
    weights = "MODEL.WEIGHTS logs/Synthetic/wrim/model_final.pth"
    code, _, err = run(
        "python tools/train_net.py --config-file logs/Synthetic/wrim/config.yaml --eval-only "
        f"{weights} TEST.FLIP.ENABLED True"
    )
    assert code == 0, err
    (folder,) = (workspace / "logs/Synthetic/wrim/eval").iterdir()
    assert re.fullmatch("model_final-flip-[0-9a-f]{8}", folder.name)


def test_there_are_five_commands():
    tools = [shlex.split(line)[1] for line in COMMANDS]
    assert tools == [f"tools/{n}.py" for n in ("visualize", "report_html", "search", "search",
                                               "export")]  # fmt: skip


def test_gates_are_measured(workspace, run):
    code, out, err = run("python tools/measure_gates.py --run logs/Synthetic/wrim")
    assert code == 0, err
    spreads, results = out.split("### Results with other gates")
    lines = [line for line in spreads.splitlines() if line.startswith("| Block")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[0] for row in cells] == [
        "Block 1, visible", "Block 1, infrared", "Block 2, visible", "Block 2, infrared",
        "Block 3, shared", "Block 4, shared",
    ]  # fmt: skip
    for row in cells:
        assert sum(map(float, row[3:])) == pytest.approx(100, abs=0.02)
    written = json.loads((workspace / "logs/Synthetic/wrim/results.json").read_text())
    (first,) = [r for r in written["results"] if r["protocol"] == "llcm_ir2vis" and r["whole"]]
    rank1 = f"{100 * first['mean']['cmc'][0]:.2f}"
    assert re.search(rf"\| as trained +\| +{re.escape(rank1)} \|", results)


def test_figures(workspace, run):
    code, out, err = run(COMMANDS[0])
    assert code == 0, err
    folder = workspace / "logs" / "Synthetic" / "wrim" / "figures"
    names = {path.stem for path in folder.glob("*.png")}
    drawn = {path.stem for path in folder.glob("*.svg")}
    assert drawn == {"embedding_map", "distances", "gates", "similarity"}
    assert names == {"ranked_llcm_ir2vis", "ranked_llcm_vis2ir", *drawn}
    assert all(out.count(f"{name}.png") == 1 for name in names)


def test_report(workspace, run):
    code, out, err = run(COMMANDS[1])
    assert code == 0, err
    page = (workspace / out.strip()).read_text(encoding="utf-8")
    assert page.count('<img src="data:image/webp;base64,') > 6
    assert page.count('<figure class="chart">') == 3 + 1 + 2  # log; gates; distances
    for text in ("LLCM (synthetic)", "llcm_ir2vis", "infrared to visible", "Loss: total", "chance",
                 "SOLVER.IMS_PER_BATCH", "llcm_same_identity_same_camera"):  # fmt: skip
        assert text in page


def test_index_and_query(workspace, run):
    code, out, err = run(COMMANDS[2])
    assert code == 0, err
    assert "18 visible images indexed" in out
    code, out, err = run(COMMANDS[3])
    assert code == 0, err
    found = json.loads((workspace / "logs/Synthetic/found.json").read_text())
    assert found["direction"] == "infrared to visible"
    assert len(found["queries"]) == 6
    assert [len(entry["results"]) for entry in found["queries"]] == [10] * 6
    run_folder = workspace / "logs/Synthetic/wrim"
    embedder = wrimnet.load(run_folder / "config.yaml", run_folder / "model_final.pth")
    entry = found["queries"][0]
    query = embedder.embed([entry["query"]], "infrared")
    best = embedder.embed([entry["results"][0]["path"]], "visible")
    similarity = entry["results"][0]["similarity"]
    assert float((query * best).sum()) == pytest.approx(similarity, abs=1e-5)
    assert f"  {similarity:7.4f}  {entry['query']}  {entry['results'][0]['path']}\n" in out
    assert len(out.splitlines()) < 12  # a line per query, not a table
    assert Image.open(workspace / "logs/Synthetic/found.png").height > 6 * 192
    code, out, _ = run(COMMANDS[2])  # again: nothing is added
    assert "0 visible images indexed" in out
    assert "18 were indexed already" in out


def test_colors_among_infrared_queries_are_doubted(tmp_path, capsys):
    for name, shift, colored in (("gray", 0, False), ("vivid", 40, True)):
        pixels = np.random.default_rng(0).integers(0, 200, (24, 9, 1)).repeat(3, axis=2)
        pixels[..., 0] += shift
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{name}.jpg")
        warn_of_colors([str(tmp_path / f"{name}.jpg")], ())
        assert ("have colors" in capsys.readouterr().err) is colored


@pytest.mark.slow
def test_onnx_files(workspace, run):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package, reason="export is an optional extra")
    import onnx
    import onnxruntime

    code, out, err = run(COMMANDS[4])
    assert code == 0, err
    assert out.count("cosine distance to PyTorch at most") == 2
    run_folder = workspace / "logs/Synthetic/wrim"
    embedder = wrimnet.load(run_folder / "config.yaml", run_folder / "model_final.pth")
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 16, 3), dtype=np.uint8)
    for modality in ("visible", "infrared"):
        path = workspace / "logs/Synthetic/exported" / f"wrimnet_{modality}.onnx"
        metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        assert metadata["config_hash"] == embedder.facts.config_hash
        assert metadata["model_hash"] == embedder.facts.model_hash
        assert metadata["embedding_size"] == str(embedder.dim)
        assert metadata["modality"] == modality
        assert "inside the graph" in metadata["normalization"]
        session = onnxruntime.InferenceSession(path)
        pixels = images.transpose(0, 3, 1, 2).astype(np.float32)
        (found,) = session.run(None, {"images": pixels})
        expected = embedder.embed(images, modality)
        assert (1 - (found * expected).sum(axis=1)).max() < 1e-4


def test_safetensors_and_model_card(workspace, run):
    pytest.importorskip("safetensors", reason="export is an optional extra")
    folder = workspace / "logs" / "Synthetic" / "published"
    command = "python tools/export.py safetensors --run logs/Synthetic/wrim --out"
    code, _, err = run(f"{command} {folder}")
    assert code == 0, err
    run_folder = workspace / "logs/Synthetic/wrim"
    original = wrimnet.load(run_folder / "config.yaml", run_folder / "model_final.pth")
    published = wrimnet.load(folder / "config.yaml", folder / "wrimnet.safetensors")
    assert published.facts.model_hash == original.facts.model_hash
    card = (folder / "README.md").read_text(encoding="utf-8")
    for text in ("surveillance technology", "## Data", "LLCM (synthetic)", "llcm_ir2vis",
                 "## Protocol and results", "## Licence", "## Intended use", "## Limits",
                 original.facts.model_hash):  # fmt: skip
        assert text in card
    assert (folder / "wrimnet.safetensors").stat().st_mode & 0o044  # others may read it
    code, _, err = run(f"{command} {folder}")
    assert code == 2 and "wrimnet.safetensors exists; give another --out" in err
    code, _, err = run(f"{command} {folder} --force")
    assert code == 0, err
    code, _, err = run(f"{command} {run_folder}")
    assert code == 2 and "config.yaml exists" in err


@pytest.fixture
def index(workspace, run, tmp_path):
    """An index of its own, with the command that would append to it."""
    command = (
        "python tools/search.py index --run logs/Synthetic/wrim --modality {modality} "
        f"--images {{images}} --index {tmp_path / 'index'}"
    )
    images = "datasets/synthetic/LLCM/test_vis/cam1"
    code, _, err = run(command.format(modality="visible", images=images))
    assert code == 0, err
    return tmp_path / "index", command


@pytest.mark.parametrize(
    ("modality", "images", "message"),
    [
        ("sonar", "datasets/synthetic/LLCM/test_vis", "unknown modality 'sonar'"),
        ("visible", "datasets/synthetic/LLCM/idx", "no image in"),
        ("visible", "datasets/synthetic/absent", "does not exist"),
        ("infrared", "datasets/synthetic/LLCM/test_nir", "holds visible images, not infrared"),
    ],
)
def test_refused_images_leave_the_index_whole(index, run, modality, images, message):
    folder, command = index
    code, _, err = run(command.format(modality=modality, images=images))
    assert code == 2
    assert message in err
    assert len(EmbeddingIndex.open(folder)) == 6


def test_another_model_and_a_damaged_index_are_refused(index, run, workspace, tmp_path):
    folder, command = index
    weights = workspace / "logs/Synthetic/wrim/model_final.pth"
    state = torch.load(weights, weights_only=True)["model"]
    state["heads.main.necks.0.weight"] *= 2
    torch.save(state, tmp_path / "other.pth")
    images = "datasets/synthetic/LLCM/test_vis/cam2"
    line = command.format(modality="visible", images=images)
    code, _, err = run(f"{line} --weights {tmp_path / 'other.pth'}")
    assert code == 2
    assert "was made by another model" in err
    assert len(EmbeddingIndex.open(folder)) == 6
    query = line.replace("search.py index", "search.py query").replace("visible", "infrared")
    code, out, err = run(f"{query} --weights {tmp_path / 'other.pth'}")
    assert code == 2
    assert "was made by another model" in err and "query" not in out
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    (damaged / "embeddings_00000.npy").write_bytes(b"")
    code, _, err = run(line.replace(str(folder), str(damaged)))
    assert code == 2
    assert f"the index {damaged} is damaged" in err


def test_a_tool_without_a_model_says_what_it_needs(run, tmp_path):
    code, _, err = run(f"python tools/export.py onnx --out {tmp_path}")
    assert code == 2
    assert "no model is given; give --run DIR" in err
    code, _, err = run(f"python tools/report_html.py {tmp_path}")
    assert code == 2
    assert "no results.json in" in err


def test_folder_above_runs_names_them(workspace, run, tmp_path):
    for words in ("visualize.py --run logs", "report_html.py logs", "compare_runs.py logs"):
        code, _, err = run(f"python tools/{words}")
        assert code == 2
        assert "; runs below it: " in err and "logs/Synthetic/wrim" in err
    with pytest.raises(FileNotFoundError, match=r"runs below it: .*wrim"):
        wrimnet.load(workspace / "logs" / "Synthetic")
    (tmp_path / "eval" / "best").mkdir(parents=True)
    (tmp_path / "eval" / "best" / "config.yaml").touch()  # an evaluation is no run
    with pytest.raises(FileNotFoundError, match=r"has no config\.yaml$"):
        wrimnet.load(tmp_path)


def test_report_needs_no_matplotlib(finished_run, run, tmp_path, monkeypatch):
    folder = tmp_path / "wrim"
    shutil.copytree(finished_run.run, folder, ignore=shutil.ignore_patterns("figures"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = run(f"python tools/report_html.py {folder}")
    assert code == 0, err
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "left out" not in page
    assert "<img" in page
