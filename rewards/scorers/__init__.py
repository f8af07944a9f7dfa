"""Scorers that are shipped: what each says of a turn."""
