"""Every call that touches the operating system, and the way to a file without following a link."""
