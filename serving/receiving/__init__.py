"""How a running replica takes new weights."""
