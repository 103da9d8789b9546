"""A forecast on its way through an artifact; no torch but in the torch backend."""
