"""Checking a model before it is measured."""
