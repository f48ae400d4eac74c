"""What somebody hands in: runs, curves, reasons, maps, mistakes and their own words, as one file.

`sections` say what stands in it, made of recorded figures (`sources`) as `pieces`; `page` and `archive` write them down.
"""
