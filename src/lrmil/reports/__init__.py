"""Reports and case pages for people to read."""
