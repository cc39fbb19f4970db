"""What the layout promises: imports point one way, files stay short, and a variable's name says what it holds."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "pipeline": {"pipeline", "components", "trainer", "serving"},
    "components": {"components", "trainer", "serving"},
    "trainer": {"trainer"},
    "serving": {"serving"},
}
SOURCES = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]
EVERY_FILE = [
    *SOURCES,
    *sorted((ROOT / "tests").rglob("*.py")),
    *sorted((ROOT / "benchmarks").rglob("*.py")),
]
# Who else than the ledger's reader asks ML Metadata for protos, and why.
READS_PROTOS = {
    "pipeline/ledger/reader.py": "is the reader",
    "pipeline/ledger/models.py": "writes that a model is revoked",
    "pipeline/ledger/releases.py": "writes that a held span is let in",
    "pipeline/operations/garbage_collection.py": "writes that files are removed",
    "pipeline/erasure/spans.py": "writes that a span is forgotten",
    "pipeline/erasure/users.py": "writes that a model has learned from somebody who is forgotten",
    "pipeline/metadata_store/former_address.py": "asks before anything else may",
    "pipeline/operations/adoption.py": "rewrites every path of the store",
    "pipeline/erasure/metadata.py": "rewrites every text of the store, whatever it means",
}
PROTOS = ("get_artifacts", "get_executions", "get_events")
SAYS_NOTHING = {"one", "found", "told", "theirs"}
MOST_LINES = 400


def trees(paths: list[Path]) -> list[tuple[str, ast.Module]]:
    return [(str(path.relative_to(ROOT)), _tree(path)) for path in paths]


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> set[str]:
    """The modules that a file takes something from, wherever in it."""
    nodes = list(ast.walk(tree))
    whole = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    parts = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return whole | parts


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package):
    ours = set(MAY_IMPORT)
    wrong = {
        (file, module)
        for file, tree in trees([path for path in SOURCES if path.relative_to(ROOT).parts[0] == package])
        for module in imported(tree)
        if module.partition(".")[0] in ours - MAY_IMPORT[package]
    }
    assert wrong == set()


def test_what_a_file_imports_of_ours_is_there():
    """Benchmarks run seldom: a name that was changed in what they import would be missed for long."""
    of_file = dict(trees(EVERY_FILE))
    modules = {file.removesuffix(".py").removesuffix("/__init__").replace("/", "."): of_file[file] for file in of_file}
    missing = {
        (file, node.module, alias.name)
        for file, tree in of_file.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in modules
        for alias in node.names
        if f"{node.module}.{alias.name}" not in modules and alias.name not in defined(modules[node.module])
    }
    assert missing == set()


def defined(tree: ast.Module) -> set[str]:
    """The names that a module has: those that are set outside its functions and classes, and those of its `__all__`."""
    names: set[str] = set()
    nodes: list[ast.AST] = [tree]
    while nodes:
        for node in ast.iter_child_nodes(nodes.pop()):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                names.add(node.name)
                continue
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.alias):
                names.add((node.asname or node.name).partition(".")[0])
            elif isinstance(node, ast.Assign) and any(
                isinstance(to, ast.Name) and to.id == "__all__" for to in node.targets
            ):
                names |= set(ast.literal_eval(node.value))
            nodes.append(node)
    return names


@pytest.mark.parametrize("package", ["trainer", "serving"])
def test_the_learner_and_the_server_know_nothing_of_tfx(package):
    wrong = {
        (file, module)
        for file, tree in trees([path for path in SOURCES if path.relative_to(ROOT).parts[0] == package])
        for module in imported(tree)
        if module.partition(".")[0] in {"tfx", "tfx_bsl", "ml_metadata", "apache_beam"}
    }
    assert wrong == set()


def test_ml_metadata_is_read_in_one_place():
    asking = {
        file
        for file, tree in trees([path for path in SOURCES if path.relative_to(ROOT).parts[0] == "pipeline"])
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith(PROTOS)
    }
    assert asking - set(READS_PROTOS) == set()


def test_the_ledger_stands_on_the_settings_and_the_store_alone():
    below = {"ledger", "config", "metadata_store", "spans"}
    wrong = {
        (file, module)
        for file, tree in trees(sorted((ROOT / "pipeline" / "ledger").glob("*.py")))
        for module in imported(tree)
        if module.startswith("pipeline.") and module.split(".")[1] not in below
    }
    assert wrong == set()


def test_no_file_is_too_long():
    long = {str(path.relative_to(ROOT)) for path in EVERY_FILE if path.read_text().count("\n") > MOST_LINES}
    assert long == set()


def test_every_variable_says_what_it_holds():
    vague = {
        (file, node.lineno, name)
        for file, tree in trees(EVERY_FILE)
        for node in ast.walk(tree)
        for name in [getattr(node, "id", None) if isinstance(node, ast.Name) else getattr(node, "arg", None)]
        if isinstance(node, ast.Name | ast.arg) and name in SAYS_NOTHING
    }
    assert vague == set()


def test_no_graph_of_ours_is_read_by_autograph():
    """Which costs seconds in every process, and nothing of ours needs it (see `trainer/keras2.py`)."""
    converted = [
        f"{path}:{call.lineno}"
        for path, tree in trees(SOURCES)
        for call in ast.walk(tree)
        if isinstance(call, ast.Attribute)
        and ast.unparse(call) == "tf.function"
        and not any(
            isinstance(of, ast.Call)
            and of.func is call
            and any(keyword.arg == "autograph" and ast.unparse(keyword.value) == "False" for keyword in of.keywords)
            for of in ast.walk(tree)
        )
    ]
    assert not converted
