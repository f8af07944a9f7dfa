"""What a run asks of a Ray cluster, and runs as jobs of one."""
