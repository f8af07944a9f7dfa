"""Quality against compute: every system at its own best setting for a budget."""
