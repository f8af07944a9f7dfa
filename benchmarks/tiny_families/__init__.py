"""Tiny models of the large presets' architectures."""
