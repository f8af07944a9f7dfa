"""What a detector saw in a picture, and what follows from its boxes: items, colours, relations."""
