"""Models on the hub: what is read of each, which roles read it, and bringing it to a machine."""
