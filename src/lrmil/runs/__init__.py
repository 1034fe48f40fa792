"""Start, resume, watch and stop a training run in a folder."""
