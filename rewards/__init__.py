"""What a turn is worth: a list of scorers, where each runs, and how their values become one reward."""
