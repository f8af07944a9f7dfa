"""Held-out evaluation: extractors, judges, scores, and the gap between reward and truth."""
