"""Checking somebody's bundle."""
