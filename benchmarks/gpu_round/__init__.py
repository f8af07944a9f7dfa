"""One round of the one-GPU preset in turns, on one card: what it costs, and how that compares with the plan."""
