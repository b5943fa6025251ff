"""The book's tooling: chapters as programs, their executed copies, and what Sphinx is told.

Nothing in this folder can change what a chapter computes. Begin with `notebooks`, which reads and
executes a chapter; `run` is one chapter, `sweep` many over a grid, `publish` makes executed
notebooks fit for the book, `contents` is the table of contents and the Sphinx extension.
"""
