"""The demonstration: a real history through a real store, with a crash in the middle."""
