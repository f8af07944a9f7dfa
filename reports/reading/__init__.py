"""Files of a run's folder, whatever is in them: bounded, checked, and what cannot be read named."""
