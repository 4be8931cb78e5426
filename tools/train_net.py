"""Trains or evaluates WRIM-Net from a YAML configuration.

python tools/train_net.py --config-file configs/LLCM/wrim.yml
python tools/train_net.py --config-file configs/LLCM/wrim.yml --resume
python tools/train_net.py --config-file configs/LLCM/wrim.yml --eval-only MODEL.WEIGHTS FILE
torchrun --nproc-per-node 4 tools/train_net.py --config-file configs/LLCM/wrim.yml

Exit codes: 0 done; 1 the results are not those of TEST.EXPECTED_RESULTS; 2 a mistake or a fault,
told in a sentence; 75 stopped by SIGTERM or SIGINT and saved at the end of the iteration: go on
with --resume. A second signal ends the run at once.
"""

import argparse
import sys

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.command_line import run_tool
from wrimnet.config import describe_keys, setup_cfg


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", default="", metavar="FILE", help="YAML configuration")
    parser.add_argument(
        "--overlay",
        action="append",
        default=[],
        metavar="FILE",
        help="YAML keys laid over the configuration; may be given several times",
    )
    parser.add_argument("--eval-only", action="store_true", help="evaluate MODEL.WEIGHTS")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--no-report", action="store_true", help="no report.html after training")
    parser.add_argument(
        "--num-gpus", type=int, default=1, help="processes on this machine, started by torchrun"
    )
    parser.add_argument("--help-config", action="store_true", help="list every key and exit")
    parser.add_argument("--traceback", action="store_true", help="show the stack of an error")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="overrides")
    return parser.parse_args()


def main() -> int:
    """Runs the command; returns the exit code."""
    args = parse_arguments()
    if args.help_config:
        print(describe_keys())
        return 0
    if not args.config_file:
        raise ValueError("--config-file is missing; for example configs/LLCM/wrim.yml")
    cfg = setup_cfg(args.config_file, args.overlay, args.opts)
    # heavy imports, not needed for errors and help
    from wrimnet.engine.distributed import setup_process_group
    from wrimnet.engine.launch import launch, to_be_launched

    if to_be_launched(args.num_gpus):
        return launch(args.num_gpus, sys.argv)
    with setup_process_group(cfg) as cfg_of_process:
        return run(cfg_of_process, args)


def run(cfg: CfgNode, args: argparse.Namespace) -> int:
    """Evaluates, or trains and makes the report; one of several processes does its share."""
    from wrimnet.engine.distributed import is_main_process
    from wrimnet.engine.run import evaluate, train

    if args.eval_only:
        return evaluate(cfg, args)
    code = train(cfg, args)
    if not args.no_report and is_main_process():
        from wrimnet.inspection.run_report import report_training

        report_training(cfg)
    return code


if __name__ == "__main__":
    run_tool(main)
