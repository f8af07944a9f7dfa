"""Studio, and the pages of runs."""
