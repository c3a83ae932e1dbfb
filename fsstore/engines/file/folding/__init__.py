"""From the journal into the streams' files: when it is done, what there is to write, and writing it."""
