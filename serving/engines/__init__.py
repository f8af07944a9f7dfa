"""vLLM's engine, as a replica starts it."""
