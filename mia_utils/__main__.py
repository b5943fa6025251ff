"""`python -m mia_utils COMMAND ...`, the same as `mia COMMAND ...`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
