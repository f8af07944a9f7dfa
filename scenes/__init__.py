"""What is asked for and what was drawn: scene graphs, data sets, the shape world, extractors, metrics, texts."""
