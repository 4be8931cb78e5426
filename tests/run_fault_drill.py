"""Kills runs, damages files, fills disks; prints what was survived and what was lost.

python tests/run_fault_drill.py                   a few kills, the quick faults: a minute
python tests/run_fault_drill.py --long --out F    60 kills, every fault; the table goes to F too

The runs are small ones on synthetic data, on the CPU, in deterministic mode. A killed and resumed
run has survived if weights, optimizer, generators, metrics.jsonl, results.json and what TensorBoard
shows are those of the uninterrupted run, bit by bit.
"""

import argparse
import tempfile
from pathlib import Path

from fault_drill.drill import LONG, SHORT, run_drill, table
from fault_drill.faults import Outcome

from wrimnet.command_line import run_tool

CONFIG_FILE = Path(__file__).resolve().parent.parent / "configs" / "Synthetic" / "wrim.yml"


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--long", action="store_true", help="60 kills and every fault")
    parser.add_argument("--kills", type=int, help="number of kills instead; 0 for none")
    parser.add_argument("--faults", choices=("none", "quick", "all"), help="other faults instead")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table to FILE")
    return parser.parse_args()


def main() -> int:
    """Runs the drill; returns 1 if anything was lost."""
    args = parse_arguments()
    size = LONG if args.long else SHORT
    size = size._replace(
        kills=size.kills if args.kills is None else args.kills, faults=args.faults or size.faults
    )
    with tempfile.TemporaryDirectory(prefix="fault_drill_") as folder:
        rows = run_drill(
            folder=Path(folder),
            config_file=str(CONFIG_FILE),
            size=size,
            report=_report,
            seed=args.seed,
        )
    print(f"\n{table(rows)}")
    if args.out:
        args.out.write_text(table(rows) + "\n")
    return int(any(row.survived < row.tries for row in rows))


def _report(row: Outcome) -> None:
    print(f"{row.fault}: {row.survived} of {row.tries} ({row.note})", flush=True)


if __name__ == "__main__":
    run_tool(main)
