"""Reviews of a model's output by a person: entries, their log, and a table."""
