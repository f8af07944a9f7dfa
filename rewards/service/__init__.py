"""Scorers that are services elsewhere, over HTTP."""
