"""What prompts ask for: plain ones, read by a VLM."""
