"""Extract the embeddings of patches, and store them."""
