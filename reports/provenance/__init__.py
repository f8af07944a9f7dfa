"""What a run was made with, at each of its starts."""
