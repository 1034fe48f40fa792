"""The networks, and the folder that a trained model is shipped in."""
