"""Bundles: a self-contained, hash-bound, signed folder of an entry's weights, records and evidence.

Write with leaderboard.bundle.writing.write_bundle, read with leaderboard.bundle.reading.open_bundle; every refusal is a
leaderboard.bundle.errors.BundleError.
"""
