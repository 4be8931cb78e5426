"""A trained model as something to call: images in, embeddings out."""
