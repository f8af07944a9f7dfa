"""This system's updates beside those of others on the same work, by turns."""
