"""Episodes for many clients at once, on models that are deployed."""
