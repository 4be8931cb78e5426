"""Datasets, sampling, augmentation and loading."""
