"""An index of embeddings on disk, and the search for the nearest ones in it."""
