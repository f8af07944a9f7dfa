"""What a prompt may ask for: the four relations of the shape world, or any; and reading it."""
