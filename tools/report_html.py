"""Writes RUN/report.html: results, curves, figures, configuration and environment in one file.

python tools/report_html.py logs/LLCM/wrim
"""

import sys

from wrimnet.command_line import make_parser, parse, run_tool


def main() -> int:
    """Runs the command; returns the exit code."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--run",
        metavar="DIR",
        help="folder of a finished run; --run may be left out",
    )
    arguments = parse(parser)

    from wrimnet.visualization.run_report import write_report

    if not arguments.run:
        raise ValueError(
            "no run is given; give its folder, as in tools/report_html.py logs/LLCM/wrim"
        )
    print(f"report of {arguments.run}: figures and tables, some seconds", file=sys.stderr)
    print(write_report(arguments.run, arguments.overrides))
    return 0


if __name__ == "__main__":
    run_tool(main)
