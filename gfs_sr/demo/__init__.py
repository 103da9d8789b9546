"""The demo: bundled real samples through a bundled model, scored and drawn."""
