"""Exponential moving average of the weights, evaluated beside the model's own."""

from wrimnet.config import Key
from wrimnet.engine.hooks import Hook
from wrimnet.registries import HOOK_REGISTRY


def add_config():
    return [Key("SOLVER.EMA.DECAY", 0.99, "share of the average that a step keeps", "[0, 1)")]


@HOOK_REGISTRY.register()
class EMA(Hook):
    def __init__(self, cfg):
        self.decay, self.weights = cfg.SOLVER.EMA.DECAY, {}

    def after_step(self):
        for name, tensor in self.trainer.model.state_dict().items():
            if tensor.is_floating_point():
                self.weights.setdefault(name, tensor.clone()).lerp_(tensor, 1 - self.decay)

    def state_dict(self):
        return self.weights

    def load_state_dict(self, state):
        self.weights = dict(state)

    def evaluated_weights(self):
        return self.weights
