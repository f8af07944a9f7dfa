"""Runs that are hurt on purpose, and what came of them."""
