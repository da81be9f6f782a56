"""Suites, cells, the runner, the command line, and the Python API, whose public name is robustarena."""
