"""Public benchmarks by name: their prompts, the folders that their own scorers read, and our detector's numbers."""
