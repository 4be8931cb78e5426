"""Writes a trained model as ONNX, as safetensors with a model card, or its test features.

python tools/export.py onnx logs/LLCM/wrim --out exported
python tools/export.py safetensors logs/LLCM/wrim --out exported
python tools/export.py features logs/LLCM/wrim --out exported

Features are those of the dataset's test images, for tools/evaluate_features.py.
"""

from wrimnet.command_line import (
    add_model_options,
    make_parser,
    output_folder,
    parse,
    run_tool,
    setup_model_cfg,
)
from wrimnet.run_folder import EXPORTED


def main() -> int:
    """Runs the command; returns the exit code."""
    parser = make_parser(__doc__)
    parser.add_argument("format", choices=(*EXPORTED,))
    add_model_options(parser)
    parser.add_argument("--out", required=True, type=output_folder, metavar="DIR")
    parser.add_argument("--force", action="store_true", help="replace files of an earlier export")
    arguments = parse(parser)

    from wrimnet.inference.embedder import build_embedder
    from wrimnet.inference.export import build_features, build_onnx_files, build_safetensors

    cfg, folder = setup_model_cfg(arguments), arguments.out
    existing = [name for name in EXPORTED[arguments.format] if (folder / name).exists()]
    if existing and not arguments.force:
        raise ValueError(
            f"{folder / existing[0]} exists; give another --out, or --force to replace it"
        )
    embedder = build_embedder(cfg)
    if arguments.format == "features":
        print(build_features(cfg, embedder, folder))
        return 0
    if arguments.format == "safetensors":
        weights = build_safetensors(cfg, embedder, folder, arguments.run)
        print(f"{weights}, config.yaml and the model card README.md beside it")
        return 0
    for path, distance in build_onnx_files(cfg, embedder, folder).items():
        print(f"{path}  cosine distance to PyTorch at most {distance:.1e}")
    return 0


if __name__ == "__main__":
    run_tool(main)
