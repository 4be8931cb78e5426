"""From embeddings to numbers that can be printed in a paper, with everything they depend on."""
