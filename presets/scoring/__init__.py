"""The scorers that a run file lists, and what cannot hold together of them."""
