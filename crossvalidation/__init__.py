"""Leave-one-group-out validation of a training recipe: train without, export, score what was left out."""
