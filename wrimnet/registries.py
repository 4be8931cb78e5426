"""What YAML and the command line name, found in FastReID's registries."""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import wrimnet.compat  # noqa: F401

from fastreid.utils.registry import Registry

from wrimnet.metrics.names import ALWAYS, CMC_LENGTH, COMPARED, Metric, is_computed_always

# How a name that is looked up by tools and by Python gets there.
YOURS = (
    "name the module that registers yours: PLUGINS of a configuration, --plugin where a tool has "
    "none, or an import in Python"
)
AUGMENTATION_REGISTRY = Registry("AUGMENTATION")
METRIC_REGISTRY = Registry("METRIC")  # functions as wrimnet.metrics.names describes them
MIIM_REGISTRY = Registry("MIIM")
FUSION_REGISTRY = Registry("FUSION")
HOOK_REGISTRY = Registry("HOOK")  # classes of wrimnet.engine.hooks.Hook, built with (cfg)
WRITER_REGISTRY = Registry("WRITER")  # FastReID's EventWriter, built with (cfg)
OPTIMIZER_REGISTRY = Registry("OPTIMIZER")  # (cfg, parameter groups) -> optimizer
SCHEDULE_REGISTRY = Registry(
    "SCHEDULE"
)  # (cfg, iters_per_epoch) -> iteration -> factor of the rate
SAMPLER_REGISTRY = Registry("SAMPLER")


def register_as(registry: Registry, name: str) -> Callable[[Any], Any]:
    """Returns a decorator that registers under another name than that of the class or function."""

    def register(registered: Any) -> Any:
        registry._do_register(name, registered)
        return registered

    return register


def names_of(value: str | Sequence[str]) -> Sequence[str]:
    """Returns the names in a key that holds one or a sequence of them."""
    return (value,) if isinstance(value, str) else value


def say_own(key: str) -> str:
    """Says how to add a custom name to those that ``key``, a configuration key or a flag, takes."""
    by = "--plugin" if key.startswith("--") else "PLUGINS"
    return f"a module of your own that registers another is named in {by}"


def find_registered(registry: Registry, name: str, key: str) -> Any:
    """Returns what a registry of FastReID's has under the name that a configuration key holds.

    Raises:
        ValueError: nothing of that name; lists what there is and how to add a custom one.
    """
    if name not in registry._obj_map:
        known = ", ".join(sorted(registry._obj_map))
        expected = f"expected one of {known}" if known else "none is registered"
        raise ValueError(f"{key} = {name!r}: {expected}; {say_own(key)}")
    return registry.get(name)


def describe_place(registered: Any) -> str:
    """Names a class or function, or the class of an object, with its module, file and line."""
    kind = registered if hasattr(registered, "__name__") else type(registered)
    name = f"{kind.__name__} of {kind.__module__}"
    try:
        return f"{name} ({inspect.getsourcefile(kind)}, line {inspect.getsourcelines(kind)[1]})"
    except (OSError, TypeError):  # it has no source file, as in a notebook
        return name


def build_named(registry: Registry, names: Sequence[str], key: str, cfg: Any) -> list[Any]:
    """Builds what a key names, in its order: what is registered is called with (cfg)."""
    return [find_registered(registry, name, key)(cfg) for name in names]


def find_optimizer(name: str) -> Any:
    """Returns the builder that is registered as an optimizer, or the class of ``torch.optim``.

    Raises:
        ValueError: there is neither, or the class needs more than a gradient for its step.
    """
    import torch

    if name in OPTIMIZER_REGISTRY._obj_map:
        return OPTIMIZER_REGISTRY.get(name)
    optimizer = getattr(torch.optim, name, None)
    base = torch.optim.Optimizer
    if (
        isinstance(optimizer, type)
        and issubclass(optimizer, base)
        and optimizer not in (base, torch.optim.LBFGS)
    ):
        return optimizer
    registered = ", ".join(("", *sorted(OPTIMIZER_REGISTRY._obj_map)))
    raise ValueError(
        f"SOLVER.OPT = {name!r}: expected a class of torch.optim that needs no closure, such as "
        f"Adam, AdamW or SGD{registered}; {say_own('SOLVER.OPT')}"
    )


def find_metrics(names: Sequence[str], key: str = "TEST.METRICS") -> dict[str, Metric]:
    """Returns the registered metrics among ``names``; the others are always computed.

    Raises:
        ValueError: an unknown name, one that is there twice, a metric that is missing although
            every comparison shows it, or a registered one with the name of one that is computed
            anyway.
    """
    registered, names = METRIC_REGISTRY._obj_map, [str(name) for name in names]
    taken = sorted(name for name in registered if name in ALWAYS or is_computed_always(name))
    if taken:
        raise ValueError(f"a metric is registered as {taken[0]}, which exists; rename yours")
    unknown = [name for name in names if name not in registered and not is_computed_always(name)]
    if unknown:
        choices = ", ".join(("", *sorted(registered)))
        raise ValueError(
            f"{key} names {unknown[0]!r}: expected Rank-1 to Rank-{CMC_LENGTH}, mAP, "
            f"mINP{choices}; {say_own(key)}"
        )
    missing = [name for name in COMPARED if name not in names]
    if missing or len(set(names)) < len(names):
        raise ValueError(
            f"{key} = {names}: expected each name once, among them {' and '.join(COMPARED)}, "
            "which every comparison shows"
        )
    return {name: registered[name] for name in names if name in registered}


def datasets() -> dict[str, Any]:
    """Returns the cross-modality datasets that are registered, by name.

    FastReID's own datasets have one modality; ours are recognized by their protocols.

    Raises:
        KeyError: nothing has registered any.
    """
    from fastreid.data.datasets import DATASET_REGISTRY  # imports PyTorch, which --help needs not

    every = DATASET_REGISTRY._obj_map.items()
    with_protocols = {name: dataset for name, dataset in every if hasattr(dataset, "protocols")}
    if not with_protocols:
        raise KeyError("no dataset is registered yet; import wrimnet.plugin first")
    return with_protocols


def find_dataset(name: str) -> Any:
    """Returns a dataset's class by its name, title or alias, in any case, with any separator.

    Raises:
        KeyError: no dataset is called so.
    """
    letters = _letters(name)
    for dataset in datasets().values():
        if letters in map(_letters, (dataset.name, dataset.title, *dataset.aliases)):
            return dataset
    raise KeyError(f"dataset {name!r} is unknown; use one of {', '.join(titles())}, or {YOURS}")


def titles() -> list[str]:
    """Returns what people call the datasets."""
    return [dataset.title for dataset in datasets().values()]


def only_dataset(names: Sequence[str]) -> Any:
    """Returns the class of the one dataset that DATASETS.NAMES names.

    Raises:
        ValueError: another number of names, or an unknown one.
    """
    try:
        (name,) = names
        return find_dataset(name)
    except (ValueError, KeyError):
        raise ValueError(
            f"DATASETS.NAMES = {tuple(names)}: expected exactly one of {', '.join(titles())}, such "
            f'as ("LLCM",); {say_own("DATASETS.NAMES")}'
        ) from None


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", str(name).lower())
