"""What brings a version to every replica of a policy."""
