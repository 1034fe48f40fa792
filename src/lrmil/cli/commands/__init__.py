"""One file per command: `add` adds its parser, `run` runs it and returns the exit code.

Each `run` imports what it needs, so that `lrmil --help` does not load torch.
"""
