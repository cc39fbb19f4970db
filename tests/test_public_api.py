"""What docs/api.md declares is there and says what it is, and the docs use nothing else; strangers are told by name."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import warmspan

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"
ROWS = {
    module: set(re.findall(r"`(\w+)`", names))
    for module, names in re.findall(r"(?m)^\| `([\w.]+)` \| (.*?) \|", PAGE.read_text(encoding="utf-8"))
}
OF_LIBRARIES = {"keras", "tf"}
MARKS = pytest.mark.filterwarnings("default")


@MARKS
@pytest.mark.parametrize("module", ROWS)
def test_what_is_declared_is_there_and_says_what_it_is(module):
    imported = importlib.import_module(module)
    for name in ROWS[module]:
        value = getattr(imported, name)
        assert name in OF_LIBRARIES or value.__doc__, name
        assert not name.startswith("_")


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_the_docs_import_nothing_else(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in warmspan.PACKAGES:
                assert {name.name for name in node.names} <= ROWS.get(node.module or "", set()), node.module


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


CONSOLE_SCRIPT = "import sys; sys.argv = ['warmspan', 'nodes']; from warmspan import main; main()"


@pytest.mark.parametrize("name", warmspan.PACKAGES)
@pytest.mark.parametrize("kind", ["package", "module"])
def test_a_stranger_of_the_name_is_named(tmp_path, name, kind):
    stranger = tmp_path / name / "__init__.py" if kind == "package" else tmp_path / f"{name}.py"
    stranger.parent.mkdir(exist_ok=True)
    stranger.write_text("print('a stranger ran')\n")
    command = run(tmp_path, CONSOLE_SCRIPT)
    sentence = f"`{name}` must be warmspan's own package, of {ROOT}. Received: {stranger}. Take the folder above it out"
    assert command.returncode == 1
    assert command.stdout == ""
    assert command.stderr.startswith(sentence)
    assert command.stderr.count("\n") == 1
    if name != "pipeline":
        program = run(tmp_path, "import pipeline.spans")
        assert sentence in program.stderr.splitlines()[-1]
        assert "a stranger ran" not in program.stdout


STARTS_A_WORKER = """\
import subprocess, sys
from warmspan import main
sys.argv = ["warmspan", "nodes"]
try:
    main()
except SystemExit:
    pass
subprocess.run([sys.executable, "-c", "import google.api_core, apache_beam"], check=True)
"""


def test_a_command_and_what_it_starts_are_silent_about_the_age_of_python(tmp_path):
    command = run(tmp_path, STARTS_A_WORKER)
    assert command.returncode == 0, command.stderr
    assert "Champion" in command.stdout
    assert "FutureWarning" not in command.stderr
