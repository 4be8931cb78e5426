"""Makes FastReID 1.4.0 importable on current Python and PyTorch; importing this package applies it.

Every module of ours that imports ``fastreid`` imports this one first. The patches only add names
that are missing; nothing that exists is replaced.
"""

from wrimnet.compat.fastreid_imports import apply_import_shim

apply_import_shim()
