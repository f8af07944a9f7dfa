"""Live metrics and loggers of a run."""
