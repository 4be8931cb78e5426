"""Writes a trained model as ONNX, or as safetensors weights with a model card.

python tools/export.py onnx --run logs/LLCM/wrim --out exported
python tools/export.py safetensors --run logs/LLCM/wrim --out exported
"""

import argparse
from pathlib import Path

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.command_line import run_tool
from wrimnet.data.build import build_dataset
from wrimnet.evaluation.provenance import describe_code, file_sha256
from wrimnet.export.model_card import CardContent, render_model_card
from wrimnet.export.onnx_files import INPUT, OPSET, OUTPUT, export_onnx
from wrimnet.export.safetensors_file import write_safetensors
from wrimnet.inspection.run_files import RESULTS, read_results
from wrimnet.interface.arguments import add_model_arguments, setup_model_cfg
from wrimnet.interface.embedder import Embedder
from wrimnet.interface.loading import build_embedder
from wrimnet.interface.model_hash import evaluation_weights
from wrimnet.modality import MODALITY_NAMES


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("format", choices=("onnx", "safetensors"))
    add_model_arguments(parser)
    parser.add_argument("--out", required=True, metavar="DIR")
    return parser


def describe_model(cfg: CfgNode, embedder: Embedder) -> dict[str, str]:
    """Returns what a user of the file must know, as text."""
    reader, code = embedder.reader, describe_code()
    return {
        "model": embedder.facts.name,
        "config_hash": embedder.facts.config_hash,
        "model_hash": embedder.facts.model_hash,
        "weights_sha256": file_sha256(cfg.MODEL.WEIGHTS),
        "embedding_size": str(embedder.dim),
        "embedding_parts": "+".join(embedder.parts),
        "input_size": f"{reader.height}x{reader.width} (height x width)",
        "resize": f"PIL {reader.interpolation}, antialiased, aspect ratio not kept",
        "pixel_mean": " ".join(map(str, cfg.MODEL.PIXEL_MEAN)),
        "pixel_std": " ".join(map(str, cfg.MODEL.PIXEL_STD)),
        "wrimnet": str(code["wrimnet"]),
        "torch": str(code["torch"]),
        "commit": str(code["commit"]),
    }


def write_onnx(cfg: CfgNode, embedder: Embedder, folder: Path) -> None:
    """Writes one file per modality."""
    embedder.model.cpu()
    for modality, name in enumerate(MODALITY_NAMES):
        metadata = {
            **describe_model(cfg, embedder),
            "modality": name,
            "opset": str(OPSET),
            "input": f"{INPUT}: float32 (batch, 3, height, width), RGB, 0..255",
            "output": f"{OUTPUT}: float32 (batch, {embedder.dim}), unit length",
            "normalisation": "inside the graph: (pixel - pixel_mean) / pixel_std",
        }
        path = folder / f"wrimnet_{name}.onnx"
        distance = export_onnx(
            embedder.model,
            path,
            parts=embedder.parts,
            modality=modality,
            size=(embedder.reader.height, embedder.reader.width),
            metadata=metadata,
        )
        print(f"{path}  cosine distance to PyTorch at most {distance:.1e}")


def write_weights(cfg: CfgNode, embedder: Embedder, folder: Path, run: str | None) -> None:
    """Writes the weights that evaluation uses, the configuration and the model card."""
    facts, weights = describe_model(cfg, embedder), folder / "wrimnet.safetensors"
    write_safetensors(weights, evaluation_weights(embedder.model), facts)
    (folder / "config.yaml").write_text(cfg.dump(), encoding="utf-8")
    (folder / "README.md").write_text(render_model_card(build_card(cfg, facts, run)), "utf-8")
    print(f"{weights}, config.yaml and the model card README.md beside it")


def build_card(cfg: CfgNode, facts: dict[str, str], run: str | None) -> CardContent:
    """Collects what the model card says; results come from the run's results.json."""
    dataset, results, lines = cfg.DATASETS.NAMES[0], "", []
    if run and Path(run, RESULTS).is_file():
        description, tables = read_results(Path(run))
        dataset += " (synthetic)" if description["synthetic"] else ""
        rows = [row for table in tables for row in (table.header, "---", *table.rows)]
        results = "\n".join(markdown_row(row, len(tables[0].header)) for row in rows)
        lines = [line for table in tables for line in table.protocol_lines]
    elif build_dataset(cfg).is_synthetic:
        dataset += " (synthetic)"
    return CardContent(
        name=facts["model"],
        dataset=dataset,
        facts=facts,
        results=results,
        protocol_lines=lines,
        files={
            "wrimnet.safetensors": "weights for evaluation, without classifiers and projections",
            "config.yaml": 'load both by `wrimnet.load("config.yaml", "wrimnet.safetensors")`',
        },
    )


def markdown_row(row: list[str] | str, width: int) -> str:
    """Returns a table row; "---" stands for the line below the header."""
    cells = [row] * width if isinstance(row, str) else row
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Runs the command; returns the exit code."""
    arguments = build_parser().parse_args()
    cfg = setup_model_cfg(arguments)
    embedder = build_embedder(cfg)
    folder = Path(arguments.out)
    if arguments.format == "onnx":
        write_onnx(cfg, embedder, folder)
    else:
        write_weights(cfg, embedder, folder, arguments.run)
    return 0


if __name__ == "__main__":
    run_tool(main)
