"""Crashing the file engine on the simulated disk, and judging what it recovers. Used by tests and by `tools/soak`."""
