"""A store's life in a process: made or found, opened (also without writing a byte), held open, closed."""
