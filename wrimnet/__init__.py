"""WRIM-Net (ECCV 2024) for visible-infrared person re-identification, as a FastReID plugin.

Importing this package registers nothing. ``import wrimnet.plugin`` registers the model, the heads,
the backbone and the datasets with FastReID.
"""

__version__ = "0.1.0"
