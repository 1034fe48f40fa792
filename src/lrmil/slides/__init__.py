"""A slide file becomes pixels at a known resolution."""
