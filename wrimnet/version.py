"""The version, written once: setup.py reads it from here, results name it."""

__version__ = "0.1.0"
