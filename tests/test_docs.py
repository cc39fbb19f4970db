"""What docs and messages name is there: pages, files, commands, TensorBoard's tags."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from pipeline.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md"))]
SOURCES = [
    path
    for package in ("pipeline", "components", "trainer", "serving", "benchmarks")
    for path in sorted((ROOT / package).rglob("*"))
    if path.is_file() and path.suffix != ".pyc"
]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_every_page_that_a_message_or_a_comment_names_is_there():
    named = {
        (str(source.relative_to(ROOT)), page)
        for source in SOURCES
        for page in re.findall(r"docs/[\w./-]+\.(?:md|txt)", source.read_text(errors="replace"))
    }
    assert named
    assert [reference for reference in named if not (ROOT / reference[1]).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_command_that_a_page_names_is_one(page):
    commands = set(typer.main.get_command(app).commands)
    text = page.read_text()
    named = set(re.findall(r"`warmspan ([a-z][a-z-]*)", text)) | set(re.findall(r"(?m)^warmspan ([a-z][a-z-]*)", text))
    assert named <= commands


def documented() -> list[str]:
    """The tags that stand in the first column of a table, as expressions."""
    text = (ROOT / "docs" / "tensorboard.md").read_text()
    tags = re.findall(r"(?m)^\| `([a-z_0-9/<>]+)` \|", text)
    return [re.sub(r"<\w+>", "[^/]+", tag) for tag in tags]


@pytest.mark.filterwarnings("default")
def test_every_tag_is_defined(tmp_path):
    from pipeline.config import Config
    from pipeline.monitoring.tensorboard.span_writer import write_details
    from tests.pipeline.hand_made_ledger import make_run
    from tests.pipeline.monitoring.test_tensorboard_pages import DETAILS
    from tests.pipeline.tensorboard_pages import RUNS, Pages

    columns = {"key": "user_id", "item": "item_id", "timestamp": "timestamp"}
    config = Config.model_validate({"name": "shop", "root": tmp_path, "data": {"path": "x", "columns": columns}})
    folder = write_details(config, make_run("2024-05-03"), DETAILS)
    pages = [Pages(folder / name) for name in RUNS]
    tags = {tag for page in pages for plugin in ("scalars", "histograms", "text") for tag in page.of(plugin)}
    assert len(tags) > 40
    assert [tag for tag in tags if not any(re.fullmatch(expression, tag) for expression in documented())] == []
