"""What a process knows of the store: the folded files and the tail over them; found out again after a stop."""
