"""train_net.py, one process of which fails at one iteration of the first attempt.

Environment: FAIL = "rank iteration kind", kind one of "killed" (as by the system, when memory runs
out), "error" (an exception) and "asked" (to stop, by SIGTERM).
"""

import os
import signal
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

from train_net import main  # noqa: E402

from wrimnet.command_line import run_tool  # noqa: E402
from wrimnet.engine.step import TrainingStep  # noqa: E402

SIGNALS = {"killed": signal.SIGKILL, "asked": signal.SIGTERM}


def fail_at(iteration, kind):
    step = TrainingStep.__call__

    def failing(self, batch):
        if batch["iteration"] == iteration:
            if kind == "error":
                raise ValueError("the planted error")
            os.kill(os.getpid(), SIGNALS[kind])
        return step(self, batch)

    TrainingStep.__call__ = failing


if __name__ == "__main__":
    rank, iteration, kind = os.environ["FAIL"].split()
    if os.environ["RANK"] == rank and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        fail_at(int(iteration), kind)
    run_tool(main)
