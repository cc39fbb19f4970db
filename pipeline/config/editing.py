"""Changes values in the settings file and leaves all else, comments and layout, as the user wrote it.

Not by ruamel.yaml's round trip: that loses comments inside braces, indents lists and spaces values anew, and writes
`1e-05`, which YAML 1.1 takes for text.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.config import Config, ConfigError
from pipeline.config.loading import load_config
from trainer.atomic_write import atomic_write

_SECTIONS = ("model", "update", "policy")


def write_settings(path: Path, before: Config, wanted: Config) -> list[str]:
    """Puts into the file at `path` the values of `model`, `update` and `policy` in which `wanted` differs from it.

    The file is written beside, read again, and takes the place of the old one only if it says `wanted`.

    Args:
      path: the settings file.
      before: what it said when it was read.
      wanted: what it shall say.

    Returns:
      The dotted settings that were changed; of none, the file is left alone.

    Raises:
      ConfigError: the file says something else than `before`, or can't be changed value by value. It is as it was.
    """
    path = path.resolve()
    if load_config(path) != before:
        raise ConfigError(f"{path} must stay as it was while it is in use, but it has changed. Nothing was written.")
    changes = _changes(before, wanted)
    if not changes:
        return []
    with path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    try:
        for where, value in changes.items():
            text = _with(text, where, value)
        with atomic_write(path, durable=True) as beside:
            with beside.open("w", encoding="utf-8", newline="") as file:
                file.write(text)
            if load_config(beside) != wanted:
                raise ConfigError("the file would say something else than it should")
            shutil.copymode(path, beside)
    except (ConfigError, yaml.YAMLError) as error:
        lines = "\n".join(f"  {'.'.join(where)}: {_flow(value)}" for where, value in changes.items())
        raise ConfigError(
            f"{path} must be written so that single values can be replaced, without anchors. Received: {error}. "
            f"Nothing was written; set these yourself:\n{lines}"
        ) from None
    return [".".join(where) for where in changes]


def _changes(before: Config, wanted: Config) -> dict[tuple[str, ...], Any]:
    changes: dict[tuple[str, ...], Any] = {}

    def compare(where: tuple[str, ...], old: Any, new: Any) -> None:
        if isinstance(old, Mapping) and isinstance(new, Mapping) and set(old) <= set(new):
            for name in new:
                compare((*where, name), old.get(name, _NOTHING), new[name])
        elif old != new or type(old) is not type(new):
            changes[where] = new

    for section in _SECTIONS:
        compare((section,), *(config.model_dump(mode="json")[section] for config in (before, wanted)))
    return changes


_NOTHING = object()


def _with(text: str, where: Sequence[str], value: Any) -> str:
    """The text with the setting at `where` replaced, or put after the last one of its section."""
    node = yaml.compose(text, yaml.SafeLoader)
    assert node is not None
    for depth, name in enumerate(where):
        assert isinstance(node, yaml.MappingNode)
        inner = next((inner_node for key, inner_node in node.value if key.value == name), None)
        if inner is None:
            return _inserted(text, node, name, _nested(where[depth + 1 :], value))
        if not isinstance(inner, yaml.MappingNode):
            return _replaced(text, inner, _nested(where[depth + 1 :], value))
        node = inner
    return _replaced(text, node, value)


def _nested(where: Sequence[str], value: Any) -> Any:
    for name in reversed(where):
        value = {name: value}
    return value


def _replaced(text: str, node: yaml.Node, value: Any) -> str:
    begin, end = node.start_mark.index, node.end_mark.index
    block = isinstance(node, yaml.CollectionNode) and not node.flow_style
    if block or (isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")):
        raise ConfigError(f"a block of several lines in line {node.start_mark.line + 1}")
    space = " " if text[begin - 1] == ":" else ""  # an empty value stands right behind its colon
    return f"{text[:begin]}{space}{_flow(value)}{text[end:]}"


def _inserted(text: str, node: yaml.MappingNode, name: str, value: Any) -> str:
    if node.flow_style:
        at = node.value[-1][1].end_mark.index if node.value else node.start_mark.index + 1
        return f"{text[:at]}{', ' if node.value else ''}{_flow({name: value})[1:-1]}{text[at:]}"
    end = text.find("\n", len(text[: _last(node).end_mark.index].rstrip()))
    newline = "\r\n" if "\r\n" in text else "\n"
    indent = " " * node.value[0][0].start_mark.column
    block = yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True, width=10**6).splitlines()
    lines = "".join(f"{indent}{line}{newline}" for line in block)
    return f"{text}{newline}{lines}" if end < 0 else f"{text[: end + 1]}{lines}{text[end + 1 :]}"


def _last(node: yaml.Node) -> yaml.Node:
    """What ends a block, without the comments that follow it."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return node


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
