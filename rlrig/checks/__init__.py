"""What is looked at before anything expensive starts."""
