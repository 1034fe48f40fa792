"""Small parts that the dock widgets are built of."""
