"""A trained model in the formats of other programs, with what one must know to use it."""
