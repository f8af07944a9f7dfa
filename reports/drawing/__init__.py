"""Pictures of a report: charts, curves, sheets of episodes."""
