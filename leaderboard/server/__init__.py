"""The board as a server: pages, an API under /v1, and the worker that verifies."""
