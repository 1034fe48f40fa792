"""The networks, and the folder a trained one ships in."""
