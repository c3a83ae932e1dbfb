"""The streams' files, and the two indexes over all of them."""
