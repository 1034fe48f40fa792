"""Synthetic slides and the small model made from them."""
