"""A setting's default is written in one place: nothing below the settings has an idea of its own."""

from __future__ import annotations

import ast
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.config.section import is_section, settings_in

ROOT = Path(__file__).resolve().parents[1]
# The same word for another thing: what was measured, decided or asked for, a part of a file, a model's own parameter.
ANOTHER_THING = {
    ("Decision", "drift"),
    ("FilePiece", "start"),
    ("_mask", "missing"),
    ("FilePiece", "length"),
    ("Signals", "next_span"),
    ("Signals", "drift"),
    ("Signals", "retention"),
    ("Judgement", "retention"),
    ("Signals", "new_items"),
    ("Signals", "new_keys"),
    ("SuppressionList", "spans"),
    ("_Entry", "model"),
    ("ModelConfig", "policy"),
    ("Catalogue", "available"),
    ("TwoStage.__init__", "candidates"),
    ("Recommendation", "columns"),
    ("SequenceModel.__init__", "temperature"),
    ("MonitoredMetric.__init__", "batch_size"),
    ("held_out_loss", "batch_size"),
    ("churn", "sample"),
    ("churn", "k"),
    ("cluster", "seed"),
    ("SpanTrainer", "epochs"),
    ("check_policy", "model"),
    ("PolicyCase", "model"),
    ("PolicyCase", "params"),
    ("RecommenderCase", "params"),
}

KERAS = {"training"}  # what a layer is called with


def sections(section: type) -> Iterator[tuple[type, str]]:
    """Every setting that has a default, with the class that has it."""
    for name, field in settings_in(section).items():
        for annotation in (field.annotation, *typing.get_args(field.annotation)):
            if is_section(annotation):
                yield from sections(annotation)
        if not field.is_required():
            yield section, name


SETTINGS = list(sections(Config))
# A section that is the trainer's own class under another name, as `Update` is `Policy`, is that class.
CLASSES = {parent for section, _ in SETTINGS for parent in section.__mro__}


def defaults(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Class or function, and what it gives a default to that is not None."""

    def walk(node: ast.AST, where: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            name = f"{where}.{child.name}" if hasattr(child, "name") else where
            if isinstance(child, ast.AnnAssign) and isinstance(node, ast.ClassDef) and is_given(child.value):
                assert isinstance(child.target, ast.Name)
                yield where, child.target.id
            if isinstance(child, ast.FunctionDef):
                arguments = child.args
                positional = [*arguments.posonlyargs, *arguments.args]
                given = zip(reversed(positional), reversed(arguments.defaults), strict=False)
                for argument, value in (*given, *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)):
                    if is_given(value):
                        yield name.strip("."), argument.arg
            yield from walk(child, name.strip("."))

    yield from walk(tree, "")


def is_given(value: ast.expr | None) -> bool:
    return value is not None and not (isinstance(value, ast.Constant) and value.value is None)


@pytest.mark.parametrize("package", ["components", "trainer", "serving/bundle", "serving/server", "serving/tfs_config"])
def test_below_the_settings_nothing_has_a_default_for_one(package):
    names, own = {name for _, name in SETTINGS}, {section.__name__ for section in CLASSES}
    again = {
        (str(path.relative_to(ROOT)), where, name)
        for path in sorted((ROOT / package).rglob("*.py"))
        for where, name in defaults(ast.parse(path.read_text(encoding="utf-8")))
        if name in names - KERAS and where not in own and (where, name) not in ANOTHER_THING
    }
    assert again == set()


def test_a_section_takes_over_the_defaults_of_the_class_that_it_extends():
    for section, name in SETTINGS:
        for parent in section.__mro__[1:]:
            if is_section(parent) and name in settings_in(parent) and not settings_in(parent)[name].is_required():
                inherited, own = settings_in(parent)[name], settings_in(section)[name]
                assert inherited.get_default(call_default_factory=True) == own.get_default(call_default_factory=True)
