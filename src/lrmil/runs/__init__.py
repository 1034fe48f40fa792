"""A training run in a folder: made, resumed, watched, stopped."""
