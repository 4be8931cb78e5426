"""What can be done with a trained model, in one line."""

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode


def build_next_line(cfg: CfgNode) -> str:
    """Says what can be done with a trained model."""
    return f'next     wrimnet.load("{cfg.OUTPUT_DIR}") in Python; tools: docs/using_a_model.md'
