"""fsstore against what one would pick instead, and against what the disk allows: `python -m bench --help`.

`work` makes the commits and the checksum of what came back, `peers` holds a store each, `cases` a question each,
`rounds` takes turns, `targets` says what was hoped for, `report` and `chart` write it down. Nothing in `fsstore`
knows that this exists.
"""
