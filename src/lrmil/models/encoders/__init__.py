"""Patch encoders: how they are found, built and checked against their contract."""
