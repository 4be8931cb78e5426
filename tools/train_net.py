"""Trains or evaluates WRIM-Net from a YAML configuration.

python tools/train_net.py --config-file configs/LLCM/wrim.yml
python tools/train_net.py --config-file configs/LLCM/wrim.yml --resume
python tools/train_net.py --config-file configs/LLCM/wrim.yml --eval-only MODEL.WEIGHTS FILE
python tools/train_net.py --config-file configs/LLCM/wrim.yml --dry-run --gpu rtx3090 --gpu h100
torchrun --nproc-per-node 4 tools/train_net.py --config-file configs/LLCM/wrim.yml

--dry-run needs neither a GPU nor data: it runs a training step on a simulated CUDA
device and reports its costs, whether it fits, and the roofline bound of a card.

Exit codes: 0 done; 1 the results are not those of TEST.EXPECTED_RESULTS; 2 invalid
input, in one line; 70 an error of the program, with its stack; 75 stopped by SIGTERM or SIGINT and
saved at the end of the iteration: continue with --resume. A second signal ends the run at once.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.command_line import add_config_options, make_parser, parse, run_tool
from wrimnet.config import Key, all_keys, setup_cfg
from wrimnet.config.keys import NEVER
from wrimnet.run_folder import REPORT


def parse_arguments() -> Any:
    """Reads the command line."""
    parser = make_parser(__doc__)
    add_config_options(parser)
    parser.add_argument("--eval-only", action="store_true", help="evaluate MODEL.WEIGHTS")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    parser.add_argument(
        "--dry-run", action="store_true", help="estimate memory and time; train nothing"
    )
    parser.add_argument(
        "--gpu",
        action="append",
        default=[],
        metavar="NAME",
        help="with --dry-run: rtx3090, a100, h100 ... or NAME=GB,BF16,TF32,GB/s of your own "
        "(TFLOP/s); may be given several times",
    )
    parser.add_argument("--no-report", action="store_true", help="no report.html after training")
    parser.add_argument(
        "--num-gpus", type=int, default=1, help="processes on this machine, started by torchrun"
    )
    parser.add_argument("--help-config", action="store_true", help="list every key and exit")
    return parse(parser)


def main() -> int:
    """Runs the command; returns the exit code."""
    args = parse_arguments()
    if args.help_config:
        cfg = setup_cfg(args.config_file, args.overlay, args.overrides)
        print(describe_keys(all_keys(cfg)))
        return 0
    if not args.config_file:
        raise ValueError("--config-file is missing; for example configs/LLCM/wrim.yml")
    if args.gpu and not args.dry_run:
        raise ValueError(
            "--gpu belongs to --dry-run; to train on a device, set MODEL.DEVICE cuda:0"
        )
    if args.dry_run and args.num_gpus > 1:
        raise ValueError(
            f"--num-gpus {args.num_gpus}: --dry-run counts one process; leave it out and give that "
            "process's share of SOLVER.IMS_PER_BATCH"
        )
    if args.dry_run:
        from wrimnet.lab.dry_run.estimate import print_dry_run

        return print_dry_run(args)
    cfg = setup_cfg(args.config_file, args.overlay, args.overrides)
    # heavy imports, not needed for errors and help
    from wrimnet.engine.distributed import setup_process_group
    from wrimnet.engine.launch import launch, to_be_launched

    if to_be_launched(args.num_gpus):
        return launch(args.num_gpus, sys.argv)
    with setup_process_group(cfg) as cfg_of_process:
        return run(cfg_of_process, args)


def describe_keys(keys: Sequence[Key]) -> str:
    """Returns two lines per key: name, default, meaning, what it may be; for ``--help-config``."""
    lines = []
    for key in keys:
        allowed = (
            f" [{' | '.join(map(str, key.allowed))}]" if isinstance(key.allowed, tuple) else ""
        )
        allowed = f"; {key.allowed}" if isinstance(key.allowed, str) else allowed
        outside = "; not in the hash" if key.hashed == NEVER else ""
        lines.append(f"{key.name} = {key.default!r}\n    {key.meaning}{allowed}{outside}")
    return "\n".join(lines)


def run(cfg: CfgNode, args: Any) -> int:
    """Evaluates, or trains and makes the report; one of several processes does its share."""
    from fastreid.utils.comm import is_main_process

    from wrimnet.engine.banner import build_next_line
    from wrimnet.engine.run import evaluate, train

    if args.eval_only:
        return evaluate(cfg)
    recipe = " + ".join([args.config_file, *args.overlay])
    code = train(cfg, resume=args.resume, recipe=recipe)
    if is_main_process():
        if not args.no_report:
            from wrimnet.visualization.run_report import report_training

            report_training(cfg)
        elif (old := Path(cfg.OUTPUT_DIR, REPORT)).is_file():
            print(f"{old} is out of date; tools/report_html.py {cfg.OUTPUT_DIR} regenerates it")
        print(build_next_line(cfg))
    return code


if __name__ == "__main__":
    run_tool(main)
