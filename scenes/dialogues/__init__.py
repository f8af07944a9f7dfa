"""What the Actor and the Checker are asked, and how their answers are read."""
