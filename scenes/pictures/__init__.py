"""Pictures: how wide and how high they are."""
