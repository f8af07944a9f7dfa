"""Which models a command takes, and whether they fit into its process."""
