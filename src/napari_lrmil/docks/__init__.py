"""One file a dock: lay its parts out and connect their signals."""
