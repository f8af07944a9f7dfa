"""An open-vocabulary detector: the model behind `scenes.detected`."""
