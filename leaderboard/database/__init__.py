"""The store behind a board: accounts, tokens, entries, jobs, on SQLite or PostgreSQL."""
