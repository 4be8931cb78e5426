"""From files and command-line words to one checked, frozen configuration."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.config.check import check_config
from wrimnet.config.keys import (
    ALWAYS,
    AUTO,
    FIRST_DEFAULTS,
    HASHED_VALUES,
    IF_SET,
    KEYS,
    NEVER,
    Key,
)
from wrimnet.config.merge import (
    Layer,
    join_plugins,
    layer_of_options,
    merge_layer,
    read_config_file,
    read_overlay_file,
)
from wrimnet.config.plugins import OWN_PLUGIN, add_plugins, load_plugin, plugin_keys
from wrimnet.config.tree import (
    available_devices,
    default_device,
    get_cfg,
    get_key,
    leaf_names,
)
from wrimnet.registries import only_dataset


def setup_cfg(
    config_file: str | PathLike,
    overlays: Sequence[str | PathLike] = (),
    options: Sequence[str] | Mapping[str, Any] = (),
    *,
    has_device: bool = True,
) -> CfgNode:
    """Builds a run's frozen configuration, its device resolved and its rules checked.

    YAML files ``overlays`` are laid over ``config_file`` ("": the defaults), then ``options``: a
    mapping such as ``{"SOLVER.MAX_EPOCH": 20}``, or ``KEY VALUE`` or ``KEY=VALUE`` words. PLUGINS
    of each of them adds to those below. The names of overlays are added to an OUTPUT_DIR that only
    ``config_file`` sets. Errors of :mod:`wrimnet.config.merge` and ``check``. ``has_device`` False
    is for a run on another machine, which has a GPU.
    """
    if isinstance(overlays, str | PathLike):
        raise ValueError(
            f"overlays is a list of files, such as [{fspath(overlays)!r}], not one file"
        )
    files = [fspath(file) for file in overlays]
    base = fspath(config_file)
    layers = [Layer(base, read_config_file(base))] if base else []
    layers += [Layer(file, read_overlay_file(file)) for file in files]
    layers.append(layer_of_options(options))
    cfg = get_cfg()
    plugins = join_plugins(layers)
    own_keys = add_plugins(cfg, plugins)
    for layer in layers:
        merge_layer(cfg, layer, [*KEYS, *own_keys])
    cfg.PLUGINS = plugins
    setup_output_dir(cfg, files, layers[bool(config_file) :])
    load_plugin(OWN_PLUGIN)  # only now: it imports PyTorch, and a wrong key is reported without it
    setup_dataset_name(cfg)
    setup_device(cfg, has_device=has_device)
    check_config(cfg, own_keys)
    cfg.freeze()
    return cfg


def setup_output_dir(cfg: CfgNode, overlays: Sequence[str], layers: Sequence[Layer]) -> None:
    """Adds the names of overlays to OUTPUT_DIR, "logs/LLCM/wrim-s1_none", unless a layer sets it.

    ``layers`` are the overlays and the options.
    """
    folder, is_given = Path(cfg.OUTPUT_DIR), any("OUTPUT_DIR" in layer.content for layer in layers)
    if overlays and folder.name and not is_given:  # the working folder has no name and is refused
        words = [folder.name, *(Path(file).stem for file in overlays)]
        cfg.OUTPUT_DIR = str(folder.with_name("-".join(words)))


def setup_dataset_name(cfg: CfgNode) -> None:
    """Gives the dataset in DATASETS.NAMES the name it is registered by: "SYSU-MM01" and such."""
    try:
        cfg.DATASETS.NAMES = (only_dataset(cfg.DATASETS.NAMES).name,)
    except ValueError:
        return  # told when data are asked for: a program may need none


def setup_device(cfg: CfgNode, *, has_device: bool = True) -> None:
    """Resolves MODEL.DEVICE "auto", and runs in fp32 on CPUs, which do bf16 in software.

    Raises ValueError: MODEL.DEVICE names no device, or one that is not there.
    """
    if cfg.MODEL.DEVICE == "auto":
        cfg.MODEL.DEVICE = default_device() if has_device else "cuda"
    if has_device and cfg.MODEL.DEVICE not in available_devices():
        raise ValueError(
            f"MODEL.DEVICE = {cfg.MODEL.DEVICE!r}: expected auto or one of {available_devices()}"
        )
    if cfg.MODEL.DEVICE == "cpu":
        cfg.SOLVER.PRECISION = "fp32"


def all_keys(cfg: CfgNode) -> list[Key]:
    """Returns the keys of this project and of the plugins of ``cfg``."""
    return [*KEYS, *plugin_keys(get_key(cfg, "PLUGINS"))]


def hashed_values(cfg: CfgNode) -> dict[str, Any]:
    """Returns every key that shapes the result of a run, with its value, by name."""
    rows = {key.name: key for key in all_keys(cfg)}
    values = {name: get_key(cfg, name) for name in sorted(leaf_names(cfg))}
    return {
        name: HASHED_VALUES.get(f"{name} {value}", value)
        for name, value in values.items()
        if name not in rows
        or rows[name].hashed == ALWAYS
        or (rows[name].hashed == IF_SET and value != FIRST_DEFAULTS.get(name, rows[name].default))
    }


def config_hash(cfg: CfgNode) -> str:
    """Returns 12 hex digits over every key that shapes the result of a run."""
    content = [[name, value] for name, value in hashed_values(cfg).items()]
    return hashlib.sha256(json.dumps(content, default=list).encode()).hexdigest()[:12]


# what a network computes with given weights; beside MIIM's keys and the younger ones
NETWORK_KEYS = tuple(
    f"MODEL.{name}"
    for name in (
        *("META_ARCHITECTURE", "BACKBONE.NAME", "BACKBONE.DEPTH", "BACKBONE.LAST_STRIDE"),
        *("BACKBONE.MAX_POOL", "HEADS.NAME", "PIXEL_MEAN", "PIXEL_STD", "WRIM.MAIN.STRIPES"),
        *("WRIM.AUXILIARY.ENABLED", "WRIM.AUXILIARY.STRIPES"),
    )
)


def build_network_settings(cfg: CfgNode) -> dict[str, Any]:
    """Returns the keys that shape what a network computes with given weights, by name.

    Younger keys and those of plugins, of which one cannot know it, stand there if they are set;
    and the size of its input, which may be another.
    """
    rows = {key.name: key for key in all_keys(cfg)}
    plugin_names = {key.name for key in plugin_keys(cfg.PLUGINS)}
    miim = sorted(name for name in rows if name.startswith("MODEL.WRIM.MIIM."))
    set_ones = [
        key.name
        for key in rows.values()
        if (key.hashed == IF_SET or key.name in plugin_names)
        and key.name.startswith("MODEL.")
        and not key.name.startswith("MODEL.WRIM.TRIPLET.")
        and get_key(cfg, key.name) != key.default
    ]
    names = dict.fromkeys((*NETWORK_KEYS, *miim, *set_ones, "INPUT.SIZE_TEST"))
    settings = {name: plain(get_key(cfg, name)) for name in names}
    infrared_range = build_infrared_range(cfg)
    return settings | ({RANGE_KEY: list(infrared_range)} if infrared_range else {})


RANGE_KEY = "INPUT.INFRARED_RANGE"


def build_infrared_range(cfg: CfgNode) -> tuple[float, ...]:
    """Returns (low, high) of infrared pixels of more than 8 bits; () where none is set or known."""
    is_auto = cfg.INPUT.INFRARED_RANGE == AUTO
    return cfg.INPUT.MEASURED_RANGE if is_auto else cfg.INPUT.INFRARED_RANGE


def plain(value: Any) -> Any:
    """Returns a value as it is read back from a file: tuples are lists."""
    return json.loads(json.dumps(value))


def changed_keys(cfg: CfgNode) -> list[tuple[str, Any, Any]]:
    """Lists name, value and default of the keys that shape a result and stand at another value."""
    rows = [(key, get_key(cfg, key.name)) for key in sorted(all_keys(cfg)) if key.hashed != NEVER]
    return [
        (key.name, value, key.default)
        for key, value in rows
        if json.dumps(value, default=list) != json.dumps(key.default, default=list)
    ]
