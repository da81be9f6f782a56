"""The one place that makes a Problem, attacks it and audits it."""
