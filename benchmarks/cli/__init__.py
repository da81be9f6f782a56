"""The command line: a file for each kind of command, the options that they share, and main.py that joins them."""
