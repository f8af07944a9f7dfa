"""Which EnvRunner samples which prompt, and how far ahead of the learner."""
