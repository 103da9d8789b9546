"""Training: the only place with Lightning and gradients."""
