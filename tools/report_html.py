"""Writes RUN/report.html: results, curves, figures, configuration and environment in one file.

python tools/report_html.py logs/LLCM/wrim
"""

import argparse

from wrimnet.command_line import run_tool
from wrimnet.inspection.run_report import write_report


def main() -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--traceback", action="store_true", help="show the stack of an error")
    parser.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", help="overrides, as DATASETS.ROOT DIR"
    )
    arguments = parser.parse_args()
    print(write_report(arguments.run, arguments.opts))
    return 0


if __name__ == "__main__":
    run_tool(main)
