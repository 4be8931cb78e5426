"""Weights of the official AGW and DEEN code under this code's names.

Both keep a whole ResNet per modality of which the network uses the stem alone, and a third whose
stem it does not use: those tensors are dropped, by name. Everything else has one place here.
"""

import re
from collections.abc import Mapping

from torch import Tensor

_UNUSED = re.compile(
    r"(thermal_module\.thermal|visible_module\.visible)\.layer\d\.|base_resnet\.base\.(conv1|bn1)\."
)
_RENAMED = (
    (r"thermal_module\.thermal\.", "backbone.stem.infrared."),
    (r"visible_module\.visible\.", "backbone.stem.visible."),
    (r"base_resnet\.base\.layer(\d)\.", r"backbone.stages.\1."),
    (r"NL_(\d)\.(\d)\.g\.0\.", r"backbone.non_local.\1.\2.g."),
    (r"NL_(\d)\.(\d)\.W\.", r"backbone.non_local.\1.\2.project."),
    (r"NL_(\d)\.(\d)\.", r"backbone.non_local.\1.\2."),
    (r"MFA(\d)\.CNL\.W\.", r"backbone.aggregations.\1.channel.project."),
    (r"MFA(\d)\.PNL\.W\.", r"backbone.aggregations.\1.position.project."),
    (r"MFA(\d)\.CNL\.", r"backbone.aggregations.\1.channel."),
    (r"MFA(\d)\.PNL\.", r"backbone.aggregations.\1.position."),
    (r"DEE\.FC(\d)(\d)\.", r"backbone.expansion.branches.#\1.dilated.#\2."),
    (r"DEE\.FC(\d)\.", r"backbone.expansion.branches.#\1.mix."),
    (r"bottleneck\.", "heads.main.necks.0."),
    (r"classifier\.", "heads.main.classifiers.0."),
)


def name_of_official(name: str) -> str | None:
    """Returns this code's name of an official tensor; None for one that no network uses.

    Raises:
        KeyError: neither AGW nor DEEN has a tensor of that name.
    """
    if _UNUSED.match(name):
        return None
    for pattern, replacement in _RENAMED:
        renamed, num_found = re.subn(f"^{pattern}", replacement, name)
        if num_found:  # "#" stands before what the official code counts from 1
            return re.sub(r"#(\d)", lambda number: str(int(number[1]) - 1), renamed)
    raise KeyError(
        f"{name!r} is not a tensor of the official AGW or DEEN network; give the state dict that "
        'their checkpoints hold under "net"'
    )


def convert_official(weights: Mapping[str, Tensor], num_blocks: int = 4) -> dict[str, Tensor]:
    """Returns an official state dict under this code's names, for ``load_state_dict``.

    Args:
        weights: their state dict.
        num_blocks: Blocks that the network uses; DEEN for RegDB keeps a fourth that it does not.

    Raises:
        KeyError: a tensor of another network.
    """
    unused = tuple(f"backbone.stages.{stage}." for stage in range(num_blocks + 1, 5))
    named = {name_of_official(name): tensor for name, tensor in weights.items()}
    return {n: tensor for n, tensor in named.items() if n is not None and not n.startswith(unused)}
