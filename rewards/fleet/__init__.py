"""Scorers that are Ray actors."""
