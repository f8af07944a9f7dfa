"""VLMs on vLLM and Ray Serve: Actor and Checker."""
