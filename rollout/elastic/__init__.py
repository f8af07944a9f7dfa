"""Fleets that follow the backlog."""
