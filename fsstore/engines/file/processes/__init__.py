"""What processes share: the page of marks, and advisory locks."""
