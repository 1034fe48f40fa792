"""MIL heads: one file each."""
