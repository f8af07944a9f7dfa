"""VLMs behind an OpenAI-compatible endpoint elsewhere."""
