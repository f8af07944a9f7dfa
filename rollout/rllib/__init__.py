"""What an algorithm is for RLlib and Ray Tune: its settings, checkpoints and resources."""
