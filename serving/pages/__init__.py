"""The pages in front of the endpoint: Studio, and the runs with their curves, groups and trajectories."""
