"""The answers to reads: streams, snapshots, heads, and the whole store in checkpoint order."""
