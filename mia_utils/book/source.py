"""Hashes of Python source that an edit of a comment, a docstring or the layout leaves alone.

`code_hash` is that of some cells, `package_hash` that of the part of this package that they use:
the modules that they import and, in turn, what those import. Folders of tooling are never part of
it, and neither is the place of a module: to rename or to move one makes nothing old.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache, lru_cache
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

Module = tuple[str, ...]
"""A module by its names below the package."""


@lru_cache(maxsize=2048)  # by content: a sweep asks of the same modules for every cell
def _imports_in(
    content: bytes | str, package: str, at: Module
) -> tuple[tuple[Module, str, str], ...]:
    """(module, name, name as) of every import from the package in a source.

    `at` is the package in which a relative import is read; the name "" stands for the module.
    """
    found: list[tuple[Module, str, str]] = []
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


class _Package:
    """One look at a package's files: each is read once, whatever is asked of it."""

    def __init__(self, root: Path):
        self.root = root
        self.file = cache(self._file)
        self.imports = cache(self._imports)
        self.homes = cache(self._homes)
        self.lines = cache(self._lines)
        self.content = cache(self._content)

    def _file(self, module: Module) -> Path | None:
        """The file of a module, None if there is none."""
        base = self.root.joinpath(*module)
        for path in (base / "__init__.py", base.with_suffix(".py") if module else base):
            if path.is_file():
                return path
        return None

    def there(self, module: Module) -> Path:
        """The file of a module that was found before."""
        path = self.file(module)
        assert path is not None, module
        return path

    def _imports(self, module: Module) -> tuple[tuple[Module, str, str], ...]:
        path = self.there(module)
        at = module if path.name == "__init__.py" else module[:-1]
        return _imports_in(path.read_bytes(), self.root.name, at)

    def front(self, module: Module) -> dict[str, tuple[Module, str]]:
        """What a package's `__init__` (or the stub beside it) imports: name to (module, name there)."""
        path = self.root.joinpath(*module) / "__init__.py"
        found = {}
        for file in (path, path.with_suffix(".pyi")):
            if file.is_file():
                for origin, name, own in _imports_in(file.read_bytes(), self.root.name, module):
                    found[own] = origin, name
        return found

    def _homes(self, module: Module, name: str, seen: tuple = ()) -> set[Module]:
        """The modules in which the thing lies that `from module import name` gives."""
        if (module, name) in seen or (module and module[0] in TOOLING):
            return set()
        seen = (*seen, (module, name))
        if name and name != "*" and self.file((*module, name)):
            return self._homes((*module, name), "", seen)
        path = self.file(module)
        if path is None:
            return set()
        if path.name != "__init__.py":
            return {module}
        front = self.front(module)
        if name and name != "*":
            return self._homes(*front[name], seen) if name in front else {module}
        return {module}.union(*(self._homes(*origin, seen) for origin in front.values()))

    def all(self) -> set[Module]:
        """Every module of the package that is no tooling."""
        found = {
            path.relative_to(self.root).with_suffix("").parts for path in self.root.rglob("*.py")
        }
        return {m[:-1] if m[-1] == "__init__" else m for m in found if m[0] not in TOOLING}

    def closure(self, sources: Iterable[str]) -> set[Module]:
        waiting: set[Module] = set()
        for source in sources:
            try:
                imported = _imports_in(source, self.root.name, ())
            except (SyntaxError, ValueError):
                waiting |= self.all()
                continue
            for module, name, _ in imported:
                waiting |= self.homes(module, name)
        found: set[Module] = set()
        while waiting:
            module = waiting.pop()
            if module in found:
                continue
            found.add(module)
            for origin, name, _ in self.imports(module):
                waiting |= self.homes(origin, name) - found
        return found

    def _content(self, module: Module) -> str:
        """Hash of a module's own lines; imports from the package say what is taken, not from where."""
        taken = (
            f"{name} as {own}: {sorted(self.lines(home) for home in self.homes(origin, name))}"
            for origin, name, own in self.imports(module)
        )
        return sha256(self.lines(module), *sorted(taken))

    def _lines(self, module: Module) -> str:
        return _own_lines(self.there(module).read_bytes(), self.root.name)


@cache
def _own_package() -> _Package:
    return _Package(PACKAGE)


def forget() -> None:
    """Read this package's files anew: called where a command begins."""
    _own_package.cache_clear()


def _look(root: Path | None) -> _Package:
    return _Package(root) if root else _own_package()


def closure(sources: Iterable[str], root: Path | None = None) -> set[Module]:
    """The modules (names below the package) that some source imports, and in turn what they do.

    A source that is no Python by itself (a cell with IPython's own syntax) counts as one that
    imports everything. `root` is the folder of a package other than this one.
    """
    return _look(root).closure(sources)


def package_hash(sources: Iterable[str], root: Path | None = None) -> str:
    """sha256 (hex) of the part of the package that some source uses; `root` as of `closure`."""
    package = _look(root)
    return sha256(*sorted(package.content(module) for module in package.closure(sources)))
