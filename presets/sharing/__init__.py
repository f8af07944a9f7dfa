"""Roles that are in one process, or on the same GPUs, and nodes that have room for them."""
