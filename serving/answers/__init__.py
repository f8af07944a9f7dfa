"""The form that answers must have, in the engine and in the learner."""
