"""What is remembered: neither Qt nor napari."""
