"""The names in a store's directory, and files that are held open for a moment."""
