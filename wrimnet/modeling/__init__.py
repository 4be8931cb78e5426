"""The networks: WRIM-Net, its backbone and head, their weights."""
