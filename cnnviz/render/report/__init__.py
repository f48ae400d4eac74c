"""What somebody hands in: runs, curves, reasons, maps, mistakes and their own words, as one file.

`sections` say what stands in it: `pieces`, made of recorded figures (`sources`). `page` and `archive` write them down.
"""
