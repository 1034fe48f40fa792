"""One file a command: `add` makes its parser, `run` does it and returns the exit code.

`run` imports what it needs itself, so that `lrmil --help` need not load torch.
"""
