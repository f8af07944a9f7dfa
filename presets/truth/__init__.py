"""What measures the truth of a run, which no reward may use."""
