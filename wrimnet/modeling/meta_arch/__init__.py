"""WRIM-Net itself."""
