"""Which patches a model sees, and their pixels."""
