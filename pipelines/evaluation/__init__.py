"""From two models and the sealed rows to scores."""
