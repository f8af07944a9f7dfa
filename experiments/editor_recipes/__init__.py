"""What updates of the editor gain, by recipe."""
