"""A commit's way: encoded outside of every lock, joined with others, planned, appended, flushed."""
