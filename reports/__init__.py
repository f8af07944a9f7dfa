"""Reading a run's folder: numbers, curves, galleries, the report."""
