"""Boards in a terminal and in files of other tools."""
