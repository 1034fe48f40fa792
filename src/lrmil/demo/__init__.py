"""Synthetic slides, and a small model trained on them."""
