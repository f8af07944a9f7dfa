"""Roles that are in one process, or on the same GPUs."""
