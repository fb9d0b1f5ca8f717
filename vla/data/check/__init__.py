"""What is wrong with recorded data, before a model is blamed for it."""
