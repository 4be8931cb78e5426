"""What a training step costs: variants beside each other, its stages, its growth."""
