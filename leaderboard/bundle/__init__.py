"""Bundles: a self-contained, hash-bound, signed folder of an entry's weights, records and evidence."""
