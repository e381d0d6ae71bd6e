"""Runs over many instances, each explained by a fit of its own (DAX, IASSA), a file each.

What is finished stays finished, and a run with other settings does not go on in its folder.
Read `module`, `settings`, `store`, `checks`, `scores`, `sound`.
"""
