"""The report of a benchmark: tables, lines, pictures and a page of all methods.

Results come in as plain fields and arrays; the same lines go to the terminal, to Markdown and to HTML.
Read `lines`, `markdown`, `picture_grid`, `text_grid`, `page`, `hparams`.
"""
