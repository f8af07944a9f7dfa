"""The policies that a run trains, and the GPUs that their learners have."""
