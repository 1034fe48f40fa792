"""Files whole or absent, safe to read, safe to show."""
