"""What the command-line tools share."""

import sys
import traceback
from collections.abc import Callable


def run_tool(main: Callable[[], int]) -> None:
    """Runs ``main`` and exits with its code; a user's mistake ends in a sentence and code 2.

    ValueError, KeyError and OSError are raised for mistakes of the caller throughout the project,
    and their messages say what to do. ``--traceback`` on the command line shows the stack as well.
    """
    show_stack = "--traceback" in sys.argv
    if show_stack:
        sys.argv.remove("--traceback")
    try:
        code = main()
    except (ValueError, KeyError, OSError, FloatingPointError) as error:
        if show_stack:
            traceback.print_exc()
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"error: {message}", file=sys.stderr)
        code = 2
    sys.exit(code)
