"""WRIM-Net (ECCV 2024) for visible-infrared person re-identification, as a FastReID plugin.

Importing this package registers nothing. ``import wrimnet.plugin`` registers the model, the heads,
the backbone and the datasets with FastReID. :func:`load` gives a trained model to call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wrimnet.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from wrimnet.inference.embedder import Embedder

__all__ = ["__version__", "load"]


def load(
    config: str | PathLike,
    weights: str | PathLike | None = None,
    *,
    device: str = "auto",
    options: Sequence[str] = (),
) -> Embedder:
    """Loads a trained model to embed images with; needs no network and no training code.

    Args:
        config: folder of a run, or a YAML file: one of ``configs/``, or what a run has written.
        weights: file of weights, such as the run's ``model_final.pth``, ``.safetensors`` as well;
            None for the run's own.
        device: "cpu", "cuda", "cuda:N", or "auto" for CUDA where there is one.
        options: ``KEY VALUE`` words laid over the configuration.

    Returns:
        The embedder; ``embedder.embed(images, modality)`` gives (N, D) float32 of unit length.

    Raises:
        FileNotFoundError: no such configuration or weights.
        KeyError, ValueError: the configuration is wrong, or the weights are of another model.
    """
    from wrimnet.inference.embedder import load_embedder  # heavy: keep the package light

    return load_embedder(config, weights, device=device, options=options)
