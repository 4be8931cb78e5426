"""Training: trainer, schedule, optimizer, checkpoints."""
