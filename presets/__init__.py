"""Run files, and the types, checks and loader that read them."""
