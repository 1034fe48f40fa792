"""A model reads a slide; its answer is kept."""
