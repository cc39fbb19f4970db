"""Single values of the settings file change; the rest stays as it was written, to the byte."""

from __future__ import annotations

import difflib
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.config import ConfigError, load_config, with_settings
from pipeline.config.editing import write_settings
from pipeline.init.template import render

HEAD = """\
# The shop's.
name: shop
data: {path: events, columns: {key: u, item: i, timestamp: t}}  # as delivered
"""
BLOCK = """\
model:
  # The towers.
  type: two_tower
  params: {dimension: 32}   # small
update:

  epochs: 3  # enough
  learning_rate: 0.1
  stability:
    replay:
      budget: 10  # sequences
    # proximal is off
gate: {k: 5}
"""


def change(path: Path, text: str, changes: dict[str, Any]) -> tuple[str, list[str]]:
    """Writes `text`, changes it, checks what it says then, and returns the new text."""
    path.write_bytes(text.encode())
    before = load_config(path)
    wanted = with_settings(before, changes, "the test")
    changed = write_settings(path, before, wanted)
    assert load_config(path) == wanted
    assert [file.name for file in path.parent.iterdir()] == [path.name], "nothing is left beside it"
    return path.read_bytes().decode(), changed


def differing(before: str, after: str) -> list[str]:
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in diff if line[:3] not in ("---", "+++") and not line.startswith("@@")]


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        pytest.param(
            BLOCK, {"update": {"epochs": 7}}, ["-  epochs: 3  # enough", "+  epochs: 7  # enough"], id="a value"
        ),
        pytest.param(
            BLOCK,
            {"update": {"stability": {"replay": {"weight": 0.25}}}},
            ["+      weight: 0.25"],
            id="missing in a block",
        ),
        pytest.param(
            BLOCK,
            {"update": {"stability": {"proximal": {"strength": 1e-05}}, "patience": 4}},
            ["+    proximal:", "+      strength: 1.0e-05", "+  patience: 4"],
            id="missing sections",
        ),
        pytest.param(
            BLOCK,
            {"model": {"params": {"dimension": 64, "layers": [8, 4]}, "type": "ranking"}},
            [
                "-  type: two_tower", "-  params: {dimension: 32}   # small",
                "+  type: ranking", "+  params: {dimension: 64, layers: [8, 4]}   # small",
            ],
            id="in braces",
        ),
        pytest.param("", {"update": {"epochs": 7}}, ["+update:", "+  epochs: 7"], id="no section"),
        pytest.param(
            "update: {}\n", {"update": {"clip_norm": None}}, ["-update: {}", "+update: {clip_norm: null}"], id="empty"
        ),
        pytest.param(
            "update:\n  clip_norm:  # no clipping\n",
            {"update": {"clip_norm": 1.5}},
            ["-  clip_norm:  # no clipping", "+  clip_norm: 1.5  # no clipping"],
            id="value left out",
        ),
        pytest.param(
            "model: {params: {\n  a: 1, # one\n  b: 2,\n}}\n",
            {"model": {"params": {"b": 3, "c: d": "x"}}},
            ["-  b: 2,", "+  b: 3, 'c: d': x,"],
            id="braces over lines",
        ),
        pytest.param(
            "model:\n  params:\n    text: |\n      two\n      lines\n\n# The end.\nupdate: {}\n",
            {"model": {"params": {"more": 1}}},
            ["+    more: 1"],
            id="after a block of text",
        ),
        pytest.param(
            'model:\n  "params": {a: "x"}\n', {"model": {"params": {"a": "é # y"}}},
            ['-  "params": {a: "x"}', "+  \"params\": {a: 'é # y'}"],
            id="quotes",
        ),
    ],
)  # fmt: skip
def test_only_what_differs_is_touched(tmp_path, text, changes, expected):
    after, _ = change(tmp_path / "warmspan.yaml", HEAD + text, changes)
    assert sorted(differing(HEAD + text, after)) == sorted(expected)


def test_line_ends_rights_and_a_missing_last_one_stay(tmp_path):
    path = tmp_path / "warmspan.yaml"
    path.write_text("")
    path.chmod(0o640)
    after, changed = change(path, (HEAD + BLOCK).replace("\n", "\r\n"), {"update": {"epochs": 7, "patience": 2}})
    assert after == (HEAD + BLOCK).replace("epochs: 3", "epochs: 7").replace(
        "    # proximal", "  patience: 2\n    # proximal"
    ).replace("\n", "\r\n")
    assert changed == ["update.epochs", "update.patience"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    after, _ = change(path, HEAD + "gate: {k: 5}", {"update": {"epochs": 7}})
    assert after == HEAD + "gate: {k: 5}\nupdate:\n  epochs: 7\n"


def test_a_link_stays_a_link(tmp_path):
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text(HEAD)
    link.symlink_to(real)
    before = load_config(link)
    write_settings(link, before, with_settings(before, {"update": {"epochs": 7}}, "the test"))
    assert link.is_symlink()
    assert "epochs: 7" in real.read_text()


def test_without_a_difference_the_file_is_not_written(tmp_path):
    path = tmp_path / "warmspan.yaml"
    path.write_text(HEAD)
    time = path.stat().st_mtime_ns
    assert write_settings(path, load_config(path), load_config(path)) == []
    assert path.stat().st_mtime_ns == time


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("model: {params: {a: &a 3}}\nupdate: {epochs: 3, patience: *a}\n", id="a value used twice"),
        pytest.param("model:\n  params:\n    a:\n      - 1\n      - 2\n", id="a list over lines"),
        pytest.param("model:\n  params:\n    a: |\n      text\n", id="a text over lines"),
    ],
)
def test_what_cannot_be_replaced_alone_is_refused_and_nothing_is_written(tmp_path, text):
    path = tmp_path / "warmspan.yaml"
    path.write_text(HEAD + text)
    before = load_config(path)
    with pytest.raises(ConfigError, match=r"(?s)without anchors.*Nothing was written.*model\.params\.a: \[5\]"):
        write_settings(path, before, with_settings(before, {"model": {"params": {"a": [5]}}}, "the test"))
    assert path.read_text() == HEAD + text
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_has_changed_meanwhile_is_left_alone(tmp_path):
    path = tmp_path / "warmspan.yaml"
    path.write_text(HEAD)
    before = load_config(path)
    path.write_text(HEAD + "gate: {k: 7}\n")
    with pytest.raises(ConfigError, match=r"it has changed\. Nothing was written"):
        write_settings(path, before, with_settings(before, {"update": {"epochs": 7}}, "the test"))
    assert path.read_text() == HEAD + "gate: {k: 7}\n"


VALUES = {
    "model": {"type": "two_tower", "params": {"dimension": 64, "text": "a: b # c", "list": [1, None]}},
    "update": {
        "epochs": 7, "learning_rate": 3e-7, "clip_norm": None, "optimizer": "adam", "new_rows": "random",
        "stability": {"ewc": {"strength": 0.1}, "shrink": {"factor": 0.5, "noise": 2.5}},
        "schedule": {"within": "cosine", "slots": "decay"},
    },
}  # fmt: skip
TEMPLATE = render({"name": "shop", "data.path": "events", "data.columns.key": "u", "data.columns.item": "i",
                   "data.columns.timestamp": "t"}, {}, "Settings.")  # fmt: skip


def parts(values: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any part of nested settings."""
    inner = {name: parts(value) if isinstance(value, dict) else st.just(value) for name, value in values.items()}
    return st.fixed_dictionaries({}, optional=inner)


@hypothesis_settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.sampled_from([HEAD, HEAD + BLOCK, HEAD + "update: {epochs: 3}\n", TEMPLATE]), changes=parts(VALUES))
def test_any_part_of_the_settings_can_be_written_and_no_comment_is_lost(tmp_path, text, changes):
    after, _ = change(tmp_path / "warmspan.yaml", text, changes)
    assert comments(after.replace("'a: b # c'", "")) == comments(text)


def comments(text: str) -> list[str]:
    return [line.partition("#")[2] for line in text.splitlines() if "#" in line]
