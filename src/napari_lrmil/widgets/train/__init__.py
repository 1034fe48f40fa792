"""The parts of the dock "Train from folder"."""
