"""Writes weights of the official AGW, CAJ or DEEN code under this code's names.

    python tools/convert_official.py --config-file configs/SYSU/agw.yml --weights THEIRS --out FILE

THEIRS is a file of tensors alone, or a dictionary with such a one under "net". Their checkpoints
hold other objects beside it, which are not read: save "net" by itself first.
"""

from pathlib import Path

from wrimnet.atomic_files import write_file
from wrimnet.command_line import add_config_options, make_parser, output_file, parse, run_tool
from wrimnet.config import setup_cfg


def main() -> int:
    """Converts the weights and checks that they are the configured network's; returns 0."""
    parser = make_parser(__doc__)
    add_config_options(parser)
    parser.add_argument(
        "--weights", required=True, metavar="FILE", help="weights of the official code"
    )
    parser.add_argument("--out", required=True, type=output_file, metavar="FILE", help="to write")
    args = parse(parser)

    import torch

    from wrimnet.modeling.weights import (
        build_model,
        build_without_pretrained,
        load_tensors,
        read_checkpoint,
    )
    from wrimnet.peers.official_weights import convert_official

    content = read_checkpoint(args.weights)
    weights = content.get("net", content)
    classes = ("MODEL.HEADS.NUM_CLASSES", str(len(weights.get("classifier.weight", ""))))
    cfg = setup_cfg(args.config_file, args.overlay, (*args.overrides, *classes))
    if "TWO_STREAM" not in cfg.MODEL:
        raise ValueError(
            f"--config-file {args.config_file!r}: expected the configuration of AGW, CAJ or DEEN, "
            "such as configs/SYSU/agw.yml"
        )
    model = build_model(build_without_pretrained(cfg))
    converted = convert_official(weights, cfg.MODEL.TWO_STREAM.NUM_BLOCKS)
    load_tensors(model, converted, args.weights, for_evaluation=False)
    write_file(Path(args.out), lambda file: torch.save({"model": converted}, file))
    print(f"{args.out} fits the network; evaluate it with --eval-only MODEL.WEIGHTS {args.out}")
    return 0


if __name__ == "__main__":
    run_tool(main)
