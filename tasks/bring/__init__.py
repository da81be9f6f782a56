"""A user's own model as a victim of a task: hf:, torch:, sb3: and python: sources."""
