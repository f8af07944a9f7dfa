"""Commands that ask the VLMs of a run alone."""
