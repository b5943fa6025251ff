"""Hashes of Python source that an edit of a comment, a docstring or the layout leaves alone.

`code_hash` is that of some cells, `package_hash` that of the part of this package that they use:
the modules that they import and, in turn, what those import. Folders of tooling are never part of
it, and neither is the place of a module: to rename or to move one makes nothing old.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
TOOLING = ("book", "cli")
"""Folders that start notebooks or print them, and can change nothing of what a cell computes."""
_SKIPPED = frozenset({"ctx", "type_comment", "kind", "type_ignores"})


def sha256(*parts: str) -> str:
    """sha256 (hex) of some texts, which no other texts put together give."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode()
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()


# ---- syntax trees ------------------------------------------------------------------------------


def _told(node) -> str:
    """A syntax tree as a text that is the same in every Python: what is empty is left out."""
    if isinstance(node, ast.AST):
        fields = (
            f"{name}={_told(value)}"
            for name, value in ast.iter_fields(node)
            if name not in _SKIPPED and value not in (None, [])
        )
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(_told(part) for part in node)}]"
    return repr(node)


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # A text that stands alone says something and does nothing.
            body[:] = [line for line in body if not _is_text(line)] or [ast.Pass()]
    return tree


def _is_text(line: ast.stmt) -> bool:
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )


def _cell(source: str) -> str:
    """A cell's syntax tree told as a text; its source where IPython's own syntax stands in it."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return source
    last = tree.body[-1:]
    shown = _is_text(last[0]) if last else False  # the notebook shows a last line's value
    return _told(_without_docstrings(tree)) + (_told(last[0]) if shown else "")


def code_hash(cells: Iterable[str]) -> str:
    """sha256 (hex) of the sources of code cells, comments and layout left out."""
    return sha256(*map(_cell, cells))


# ---- modules -----------------------------------------------------------------------------------


def _file(root: Path, module: tuple[str, ...]) -> Path | None:
    """The file of a module given by its names below the package, None if there is none."""
    base = root.joinpath(*module)
    for path in (base / "__init__.py", base.with_suffix(".py") if module else base):
        if path.is_file():
            return path
    return None


def _there(root: Path, module: tuple[str, ...]) -> Path:
    """The file of a module that was found before."""
    path = _file(root, module)
    assert path is not None, module
    return path


@lru_cache(maxsize=2048)  # by content: a sweep asks of the same modules for every cell
def _imports(
    content: bytes | str, package: str, at: tuple[str, ...]
) -> tuple[tuple[tuple, str, str], ...]:
    """(module, name, name as) of every import from the package in a source.

    `at` is the package in which a relative import is read; the name "" stands for the module.
    """
    found: list[tuple[tuple, str, str]] = []
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first, *rest = alias.name.split(".")
                if first == package:
                    found.append((tuple(rest), "", alias.asname or ""))
        elif isinstance(node, ast.ImportFrom):
            names = node.module.split(".") if node.module else []
            if node.level:
                module = (*at[: len(at) - node.level + 1], *names)
            elif names[:1] == [package]:
                module = tuple(names[1:])
            else:
                continue
            found += [(module, alias.name, alias.asname or alias.name) for alias in node.names]
    return tuple(found)


def _front(root: Path, module: tuple[str, ...]) -> dict[str, tuple[tuple, str]]:
    """What a package's `__init__` (or the stub beside it) imports: name to (module, name there)."""
    path = root.joinpath(*module) / "__init__.py"
    found = {}
    for file in (path, path.with_suffix(".pyi")):
        if file.is_file():
            for origin, name, own in _imports(file.read_bytes(), root.name, module):
                found[own] = origin, name
    return found


def _homes(root: Path, module: tuple[str, ...], name: str, seen: tuple = ()) -> set[tuple]:
    """The modules in which the thing lies that `from module import name` gives."""
    if (module, name) in seen or (module and module[0] in TOOLING):
        return set()
    seen = (*seen, (module, name))
    if name and name != "*" and _file(root, (*module, name)):
        return _homes(root, (*module, name), "", seen)
    path = _file(root, module)
    if path is None:
        return set()
    if path.name != "__init__.py":
        return {module}
    front = _front(root, module)
    if name and name != "*":
        return _homes(root, *front[name], seen) if name in front else {module}
    return {module}.union(*(_homes(root, *origin, seen) for origin in front.values()))


def _all(root: Path) -> set[tuple[str, ...]]:
    """Every module of the package that is no tooling."""
    found = {path.relative_to(root).with_suffix("").parts for path in root.rglob("*.py")}
    return {m[:-1] if m[-1] == "__init__" else m for m in found if m[0] not in TOOLING}


def closure(sources: Iterable[str], root: Path = PACKAGE) -> set[tuple[str, ...]]:
    """The modules (names below the package) that some source imports, and in turn what they do.

    A source that is no Python by itself (a cell with IPython's own syntax) counts as one that
    imports everything.
    """
    waiting: set[tuple] = set()
    for source in sources:
        try:
            imported = _imports(source, root.name, ())
        except (SyntaxError, ValueError):
            waiting |= _all(root)
            continue
        for module, name, _ in imported:
            waiting |= _homes(root, module, name)
    found: set[tuple] = set()
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        for origin, name, _ in _module_imports(root, module):
            waiting |= _homes(root, origin, name) - found
    return found


def _module_imports(root: Path, module: tuple[str, ...]) -> tuple[tuple[tuple, str, str], ...]:
    path = _there(root, module)
    at = module if path.name == "__init__.py" else module[:-1]
    return _imports(path.read_bytes(), root.name, at)


def _content(root: Path, module: tuple[str, ...]) -> str:
    """Hash of a module's own lines; imports from the package say what is taken, not from where."""
    taken = (
        f"{name} as {own}: {sorted(_lines(root, home) for home in _homes(root, origin, name))}"
        for origin, name, own in _module_imports(root, module)
    )
    return sha256(_lines(root, module), *sorted(taken))


def _lines(root: Path, module: tuple[str, ...]) -> str:
    return _own_lines(_there(root, module).read_bytes(), root.name)


@lru_cache(maxsize=512)
def _own_lines(content: bytes, package: str) -> str:
    return sha256(_told(_NoImports(package).visit(_without_docstrings(ast.parse(content)))))


class _NoImports(ast.NodeTransformer):
    """Takes away the imports from the package itself."""

    def __init__(self, package: str):
        self.package = package

    def visit_ImportFrom(self, node: ast.ImportFrom):
        own = node.level or (node.module or "").split(".")[0] == self.package
        return None if own else node

    def visit_Import(self, node: ast.Import):
        node.names = [a for a in node.names if a.name.split(".")[0] != self.package]
        return node if node.names else None


def package_hash(sources: Iterable[str], root: Path = PACKAGE) -> str:
    """sha256 (hex) of the part of the package that some source uses."""
    return sha256(*sorted(_content(root, module) for module in closure(sources, root)))
