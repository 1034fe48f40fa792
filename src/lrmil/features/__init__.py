"""Embeddings of a slide's patches, on disk."""
