"""The command line: `mia COMMAND ...`, thin functions over the package."""
