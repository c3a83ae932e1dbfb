"""The journal: its files, and finding whole records in one that may be damaged."""
