"""`rlrig serve`: the system behind an endpoint, on Ray or in one process."""
