"""Words of sentences: English relations, and what people write around requirements."""
