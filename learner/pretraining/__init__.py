"""The small models, from scratch."""
