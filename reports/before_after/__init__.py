"""What training changed: the same held-out prompts before and after it, and the verdict in a sentence."""
