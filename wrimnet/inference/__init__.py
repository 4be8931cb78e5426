"""A trained model as something to call, and in the formats of other programs."""
