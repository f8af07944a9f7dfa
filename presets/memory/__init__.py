"""How much memory a run takes, by role and by device, from sizes of models and settings alone. Nothing is loaded."""
