"""An index of embeddings on disk, and the search for the nearest ones in it."""

BACKENDS = ("auto", "exact", "faiss")
DTYPES = ("float32", "float16")
