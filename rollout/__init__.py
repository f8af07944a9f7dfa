"""From prompts to trajectories: episodes, the models that play them, the RLlib algorithm."""
