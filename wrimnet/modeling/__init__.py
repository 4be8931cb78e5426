"""What FastReID's registries see: the backbone builder, the head and the meta-architecture."""
