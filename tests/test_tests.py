"""Every test can fail: it asserts, or it calls something that does."""

import ast

import pytest
from conftest import ROOT

REFUSES = ("assert_", "check", "raises", "warns", "fail")
"""How functions are named that raise where something is not as it should be."""
BODIES = dict[str, list[ast.FunctionDef]]


def functions(code: str) -> BODIES:
    """{name: definitions} of a file, those inside of others, too."""
    found: BODIES = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(node)
    return found


def idle(code: str, helpers: BODIES | None = None) -> list[str]:
    """Tests of a file that neither assert nor call what does."""
    own = functions(code)
    bodies = {**(helpers or {}), **own}

    def refuses(call: ast.Call, above: frozenset[str]) -> bool:
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name.startswith(REFUSES) or asserts(name, above):
            return True
        return any(words in ast.unparse(call) for words in ("check=True", "simplefilter('error'"))

    def asserts(name: str, above: frozenset[str] = frozenset()) -> bool:
        nodes = [n for body in bodies.get(name, ()) if name not in above for n in ast.walk(body)]
        return any(
            (isinstance(n, ast.Assert) and not constant(n.test))
            or (isinstance(n, ast.Call) and refuses(n, above | {name}))
            for n in nodes
        )

    return [name for name in own if name.startswith("test_") and not asserts(name)]


def constant(test: ast.expr) -> bool:
    """Whether an assertion holds whatever its names are: `x or True`, `x == x`, `(x, "why")`."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        return any(constant(value) for value in test.values)
    if isinstance(test, ast.Compare) and not any(isinstance(n, ast.Call) for n in ast.walk(test)):
        return ast.dump(test.left) == ast.dump(test.comparators[0])
    return isinstance(test, ast.Constant | ast.Tuple | ast.List | ast.JoinedStr | ast.Lambda)


def test_every_test_can_fail():
    helpers: BODIES = {}
    for path in (ROOT / "tests").glob("[!t]*.py"):
        helpers |= functions(path.read_text("utf-8"))
    files = sorted((ROOT / "tests").glob("test_*.py"))
    assert len(files) > 80
    found = {path.name: idle(path.read_text("utf-8"), helpers) for path in files}
    assert {name: tests for name, tests in found.items() if tests} == {}


@pytest.mark.parametrize(
    "body", ["f()", "assert x or True", "assert x.y == x.y", "assert (x, 'why')", "helper()"]
)
def test_a_test_that_cannot_fail_is_found(body):
    code = f"def helper(): print(1)\ndef test_a(): {body}\ndef test_b(): assert x"
    assert idle(code) == ["test_a"]
    asserting = code.replace("print(1)", "assert y")
    assert idle(asserting) == ([] if body == "helper()" else ["test_a"])


@pytest.mark.parametrize(
    "body", ["assert f(x) == f(x)", "pytest.raises(E, f)", "check_model(x)", "helper(0)"]
)
def test_a_test_that_can_fail_is_not(body):
    assert idle(f"def test_a(): {body}", functions("def helper(x): assert x")) == []
