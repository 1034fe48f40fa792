"""Train: one loop, and the two stages that use it."""
