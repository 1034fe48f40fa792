"""LRMIL: whole-slide classification from low-resolution pixels (arXiv 2606.06864)."""
