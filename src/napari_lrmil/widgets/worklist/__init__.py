"""The parts of the dock "Worklist"."""
