r"""A writer for Weights & Biases: the values of every log line go to a run there.

    pip install wandb
    python tools/train_net.py --config-file configs/LLCM/wrim.yml \
        PLUGINS '["examples.wandb_writer"]' WRITERS '["Wandb"]' WANDB.PROJECT my-project \
        OUTPUT_DIR logs/LLCM/wandb

A training that is resumed goes on with its run. With WANDB_MODE=offline nothing is sent; the files
in OUTPUT_DIR/wandb can be sent later by `wandb sync`.
"""

from pathlib import Path
from uuid import uuid4

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from fastreid.utils.events import EventWriter, get_event_storage

from wrimnet.atomic_files import write_text
from wrimnet.config import changed_keys
from wrimnet.config.keys import NEVER, Key
from wrimnet.registries import WRITER_REGISTRY
from wrimnet.run_folder import kind_of

try:
    import wandb
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("wandb is missing; pip install wandb") from error


def add_config() -> list[Key]:
    """Adds the keys of the writer."""
    return [Key("WANDB.PROJECT", "wrimnet", "project of Weights & Biases", hashed=NEVER)]


@WRITER_REGISTRY.register()
class Wandb(EventWriter):
    """Logs losses, speed and metrics, those in percent, against the iteration, counted from 1."""

    def __init__(self, cfg: CfgNode) -> None:
        folder = Path(cfg.OUTPUT_DIR)
        path = folder / "wandb_id.txt"
        if not path.exists():
            write_text(path, uuid4().hex[:8])
        self._run = wandb.init(
            project=cfg.WANDB.PROJECT,
            name=folder.name,
            dir=folder,
            id=path.read_text(),
            resume="allow",
            config={name: value for name, value, _ in changed_keys(cfg)},
        )

    def write(self) -> None:
        """Logs what is new since the last line."""
        storage = get_event_storage()
        values = storage.latest().items()
        new = {name: value for name, (value, iteration) in values if iteration == storage.iter}
        percent = {name: 100 * value for name, value in new.items() if kind_of(name) == "test"}
        self._run.log({**new, **percent}, step=storage.iter)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()
