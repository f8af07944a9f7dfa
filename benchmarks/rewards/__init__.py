"""What scorers cost an update."""
