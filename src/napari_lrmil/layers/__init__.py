"""Core values as napari layers, and layers as slides."""
