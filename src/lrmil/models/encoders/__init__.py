"""Patch encoders: found, built, checked against their contract."""
