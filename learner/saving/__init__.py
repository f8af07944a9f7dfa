"""States and weights on disk, complete or not there, and without pickles."""
