"""Small notebooks for tests."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mia_utils.book.execute import KERNEL

PARAMETERS = "epochs = 3\nname = 'a'\nrate = 0.5\nfast = False"


def chapter(*code, prose="Prose.", parameters=PARAMETERS):
    """A notebook of some prose, a parameters cell and cells of code."""
    cells = [new_markdown_cell(prose), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    return new_notebook(cells=[*cells, *map(new_code_cell, code)], metadata=dict(KERNEL))


def save(notebook, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path
