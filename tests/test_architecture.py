"""The floors of the package: imports point one way."""

from conftest import ROOT
from importlinter.cli import lint_imports


def test_imports_point_one_way_and_in_no_circle(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert lint_imports(str(ROOT / "pyproject.toml"), no_cache=True) == 0, capsys.readouterr().out
