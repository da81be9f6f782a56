"""Results, scores, statistics and pages. Imports no other package of the project, and no torch."""
