"""The parts of the dock "Classify slide"."""
