"""From a model to a bundle, and on to a server."""
