"""How a run goes, for the terminal and for scripts."""
