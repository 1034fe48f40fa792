"""What a person said of a model's output."""
