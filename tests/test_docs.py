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
    from components.surroundings import Surroundings
    from pipeline.config import Config
    from pipeline.monitoring.tensorboard.span_writer import write_details
    from tests.pipeline.hand_made_ledger import make_run
    from tests.pipeline.monitoring.test_tensorboard_pages import DETAILS
    from tests.pipeline.tensorboard_pages import Pages

    columns = {"key": "user_id", "item": "item_id", "timestamp": "timestamp"}
    config = Config.model_validate({"name": "shop", "root": tmp_path, "data": {"path": "x", "columns": columns}})
    lists = dict.fromkeys(("coverage", "distinct_items", "gini", "users", "recommended", "taken"), 0.5)
    surroundings = Surroundings(
        popularity={"recall": (0.1, 0.0, 0.2)}, served_lists=lists, shelf={"recall": 0.5},
        slices={"item_events:1-4": {"recall": 0.1}},
    )  # fmt: skip
    folder = write_details(config, make_run("2024-05-03", surroundings=surroundings), DETAILS)
    pages = [Pages(path) for path in folder.iterdir()]
    tags = {tag for page in pages for plugin in ("scalars", "histograms", "text") for tag in page.of(plugin)}
    assert len(tags) > 40
    assert [tag for tag in tags if not any(re.fullmatch(expression, tag) for expression in documented())] == []


def setting(name: str) -> object:
    """The default of a dotted setting; raises KeyError for one that is none. Below a mapping every name may stand."""
    from pipeline.config import Config
    from pipeline.config.section import is_section, settings_in

    annotation: object = Config
    default: object = None
    for part in name.split("."):
        if not is_section(annotation):
            return None
        field = settings_in(annotation)[part]
        annotation, default = field.annotation, field.get_default(call_default_factory=True)
    return default


SECTIONS = "data|split|vocabulary|history|model|update|gate|push|serving|policy|alerts|gc|beam"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_setting_that_a_page_names_is_one(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for name in re.findall(rf"`((?:{SECTIONS})(?:\.[a-z_]+)+)", text):
        module = ROOT.joinpath(*name.split(".")[:2])
        if not (name.endswith(".py") or module.is_dir() or module.with_suffix(".py").exists()):
            setting(name)


def test_a_default_that_a_page_states_is_the_one_that_holds():
    stated = [
        (page.name, name, value)
        for page in PAGES
        for name, value in re.findall(rf"`((?:{SECTIONS})\.[a-z_.]+)`[^|`.]{{0,12}}\((\d[\d.]*)\)", page.read_text())
    ]
    assert len(stated) >= 3
    assert [(page, name, value) for page, name, value in stated if float(value) != setting(name)] == []


def test_the_servers_limits_in_its_page_are_those_that_hold():
    from serving.server.admission_control import BODY_SECONDS, MAX_BODY_BYTES, MAX_HELD_BODIES

    text = " ".join((ROOT / "docs" / "serving.md").read_text().split())
    eight = {8: "eight"}[MAX_HELD_BODIES]
    assert f"A body has at most {MAX_BODY_BYTES >> 20} MiB" in text
    assert f"all bodies that are held at once have at most {eight} times that" in text
    assert f"A body that does not arrive within {BODY_SECONDS:g} seconds is a 408" in text
