"""From a suite to its records: planning, executors, measuring."""
