"""The trainings of a chapter, and what they need, without the rest of it: `mia sweep --train-only`.

A chapter's statements are looked at from the last to the first. One that trains models is kept, and
so is every earlier one that gives or changes a name which a kept statement uses; attacks, figures
and sentences are left out. What is kept runs in this process: no Jupyter is needed, and the models
are in the store when the chapter itself is executed, here or elsewhere.
"""

from __future__ import annotations

import ast
import io
import os
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout

from ..errors import InputError, NotebookError
from . import notebooks

TRAINING = frozenset(
    {"train", "train_text", "train_defended", "train_stacked", "train_selena", "run"}
)
"""Functions of the package that train models into the store."""
_MODELS = "__import__('mia_utils.experiments.experiment', fromlist=['models']).models"
_RANDOM = frozenset({"default_rng", "RandomState", "Random"})
_IN_PLACE = frozenset({"shuffle", "put", "place", "copyto", "fill_diagonal", "setattr"})
"""Functions that change what they are handed."""


def statements(sources: Iterable[str]) -> list[ast.stmt]:
    """The statements of some cells; lines in IPython's own syntax are left out.

    Raises
    ------
    InputError
        If what remains is no Python.
    """
    found: list[ast.stmt] = []
    for source in sources:
        lines = source.splitlines()
        plain = ["" if line.lstrip().startswith(("%", "!")) else line for line in lines]
        try:
            found += ast.parse("\n".join(plain)).body
        except (SyntaxError, ValueError) as error:
            raise InputError(f"a cell is no Python: {' '.join(str(error).split())}") from None
    return found


def trainings(lines: list[ast.stmt]) -> list[ast.stmt]:
    """Those statements that train models, and those that they need, in their order."""
    return _Slice(lines).kept


class _Slice:
    """The walk from the last statement to the first; `needed` are the names still to be given."""

    def __init__(self, lines: list[ast.stmt]):
        self.needed: set[str] = set()
        self.trains = _training_names(lines)
        self.own = {line.name for line in lines if isinstance(line, ast.FunctionDef)}
        modules = (line for line in lines if isinstance(line, (ast.Import, ast.ImportFrom)))
        self.imported = {name for line in modules for name in _given(line)}
        self.random = {n for line in lines for n in _given(line) if _calls(line) & _RANDOM}
        self.kept = self._block(lines, once=True)

    def _block(self, lines: list[ast.stmt], *, once: bool) -> list[ast.stmt]:
        """The kept part of a block; `once` says that it runs exactly once, from top to bottom."""
        kept: list[ast.stmt] = []
        for line in reversed(lines):
            if isinstance(line, (ast.For, ast.While, ast.If, ast.With, ast.Try)):
                part = self._compound(line)
                if part is not None:
                    kept.append(part)
            elif self._wanted(line):
                kept.append(self._models_alone(line))
                if once and isinstance(line, (ast.Assign, ast.AnnAssign)):
                    self.needed -= _given(line)
                self.needed |= _used(line)
        return kept[::-1]

    def _compound(self, line: ast.stmt) -> ast.stmt | None:
        """A loop, branch or the like with what is kept of its body; None if nothing is."""
        while True:  # a loop's end may need what its beginning gives
            before = set(self.needed)
            blocks = {
                name: self._block(getattr(line, name), once=False)
                for name in ("orelse", "body", "finalbody")
                if getattr(line, name, None)
            }
            if not any(blocks.values()):
                return None
            heads = [value for name, value in ast.iter_fields(line) if name not in blocks]
            for head in heads:
                for node in head if isinstance(head, list) else [head]:
                    if isinstance(node, ast.AST):
                        self.needed |= _used(node)
            if self.needed == before:
                break
        changed = {name: value or [ast.Pass()] for name, value in blocks.items()}
        if not blocks.get("orelse"):
            changed["orelse"] = []
        fields = {name: changed.get(name, value) for name, value in ast.iter_fields(line)}
        return ast.copy_location(type(line)(**fields), line)

    def _wanted(self, line: ast.stmt) -> bool:
        if isinstance(line, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
            return bool(_given(line) & self.needed)
        if isinstance(line, (ast.Assert, ast.Pass, ast.Delete)):
            return False
        calls = _calls(line)
        if calls & self.trains or _given(line) & self.needed or _changed(line) & self.needed:
            return True
        if _asked(line) & self.needed & self.random:
            return True  # a draw moves the generator on
        if isinstance(line, ast.Expr):  # shows something, or is there for what it changes
            changed = _asked(line) - self.imported
            if calls & (self.own | _IN_PLACE):
                changed |= _handed(line)
            return bool(changed & self.needed)
        return False

    def _models_alone(self, line: ast.stmt) -> ast.stmt:
        """An experiment's models without its attacks, where nobody asks for the result."""
        if _given(line) & self.needed or "run" not in _calls(line):
            return line

        class Models(ast.NodeTransformer):
            def visit_Call(self, node: ast.Call) -> ast.Call:
                if _name(node.func) == "run":
                    node.func = ast.parse(_MODELS, mode="eval").body
                return node

        return Models().visit(line)


def _training_names(lines: list[ast.stmt]) -> set[str]:
    """The names of functions that train: the package's, and the chapter's own that call them."""
    found = set(TRAINING)
    functions = [line for line in lines if isinstance(line, ast.FunctionDef)]
    while True:
        new = {f.name for f in functions if _calls(f) & found} - found
        if not new:
            return found
        found |= new


def _name(node: ast.expr) -> str:
    """The last part of a name: "run" of `experiments.run`."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _base(node: ast.expr) -> str:
    """The first part: "x" of `x.y[0].z`."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return getattr(node, "id", "")


def _calls(tree: ast.AST) -> set[str]:
    """Names of the functions that are called."""
    return {_name(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


_SCOPES = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _used(tree: ast.AST) -> set[str]:
    """Names that are read, but for those that a function or a comprehension has for itself."""
    if isinstance(tree, ast.Name):
        return {tree.id} if isinstance(tree.ctx, ast.Load) else set()
    found = set()
    for child in ast.iter_child_nodes(tree):
        found |= _used(child)
    if isinstance(tree, ast.AugAssign):
        found.add(_base(tree.target))
    elif isinstance(tree, _SCOPES):
        found -= {name for part in tree.generators for name in _stored(part.target)}
    elif isinstance(tree, (ast.FunctionDef, ast.Lambda)):
        found -= {argument.arg for argument in ast.walk(tree.args) if isinstance(argument, ast.arg)}
        found -= set() if isinstance(tree, ast.Lambda) else _stored(*tree.body)
    return found


def _stored(*trees: ast.AST) -> set[str]:
    """Names that are bound anywhere in some trees."""
    nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name))
    return {node.id for node in nodes if isinstance(node.ctx, ast.Store)}


def _given(line: ast.stmt) -> set[str]:
    """Names that a statement binds."""
    if isinstance(line, (ast.FunctionDef, ast.ClassDef)):
        return {line.name}
    if isinstance(line, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.partition(".")[0] for alias in line.names}
    return _stored(*getattr(line, "targets", [getattr(line, "target", None) or ast.Pass()]))


def _changed(line: ast.stmt) -> set[str]:
    """Names of things of which a statement sets a part: "x" of `x.y = 1` and `x[0] = 1`."""
    targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
    flat = [part for t in targets if t is not None for part in ast.walk(t)]
    return {_base(node) for node in flat if isinstance(node, (ast.Attribute, ast.Subscript))}


def _asked(line: ast.AST) -> set[str]:
    """Names of things of which a method is called."""
    calls = (node for node in ast.walk(line) if isinstance(node, ast.Call))
    return {_base(node.func) for node in calls if isinstance(node.func, ast.Attribute)}


def _handed(line: ast.AST) -> set[str]:
    """Names that are arguments of a call."""
    calls = (node for node in ast.walk(line) if isinstance(node, ast.Call))
    return {a.id for node in calls for a in node.args if isinstance(a, ast.Name)}


def run_trainings(notebook: Mapping, values: Mapping) -> int:
    """Run the trainings of a chapter with these parameters; return how many statements they took.

    Parameters
    ----------
    values : mapping
        All parameters, read by `parameters.check`.

    Raises
    ------
    InputError
        As the statements do, and if a cell is no Python.
    NotebookError
        If a statement raises anything else.
    """
    cells = notebooks.code_cells(notebook)
    sources = [c["source"] for c in cells if notebooks.PARAMETERS not in notebooks.tags(c)]
    kept = trainings(statements(sources))
    namespace = {"__name__": "__main__", **values}
    os.environ.setdefault("MPLBACKEND", "agg")
    with redirect_stdout(io.StringIO()):  # what the chapter prints belongs to its page
        for line in kept:
            code = compile(ast.fix_missing_locations(ast.Module([line], [])), "<chapter>", "exec")
            try:
                exec(code, namespace)  # nosec B102: a chapter is a program
            except InputError:
                raise
            except Exception as error:
                said = " ".join(f"{type(error).__name__}: {error}".split())
                raise NotebookError(f"{said} (in: {ast.unparse(line).splitlines()[0]})") from None
    return len(kept)
