"""Every byte layout: records, beginnings of files, entries of indexes. Nothing here reads or writes."""
