"""The store of a process alone: one SQLite file."""
