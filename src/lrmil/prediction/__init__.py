"""Classify slides with a model, and store the answers."""
