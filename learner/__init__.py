"""From trajectories to weights: advantages, both losses, DeepSpeed ranks, checkpoints."""
