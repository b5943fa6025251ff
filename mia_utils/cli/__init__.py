"""The command line: `mia COMMAND ...`, thin functions over the package.

One file a command; `main` finds the command and makes one line of every error.
"""
