"""A custom writer: prints iteration and total loss of each log line."""

import wrimnet.compat  # noqa: F401

from fastreid.utils.events import EventWriter, get_event_storage

from wrimnet.registries import WRITER_REGISTRY


@WRITER_REGISTRY.register()
class LossPrinter(EventWriter):
    def __init__(self, cfg):
        self.word = cfg.OUTPUT_DIR

    def write(self):
        storage = get_event_storage()
        print(self.word, storage.iter, storage.latest()["total_loss"][0])
