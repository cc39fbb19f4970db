from __future__ import annotations

from pathlib import Path

import yaml
from typer.testing import CliRunner

from pipeline.cli import app

SETTINGS = """\
name: shop
root: run
data:
  path: events
  columns: {key: user_id, item: item_id, timestamp: timestamp}
"""


def test_the_command_writes_from_the_settings_file_and_keeps_what_is_there(tmp_path: Path) -> None:
    settings, out = tmp_path / "warmspan.yaml", tmp_path / "out"
    settings.write_text(SETTINGS)
    command = ["deploy-config", "--config", str(settings), "--out", str(out)]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.split() == [str(path) for path in map(Path, ran.stdout.split()) if path.is_file()]
    compose = yaml.safe_load((out / "compose.yaml").read_text())
    assert compose["services"]["serving"]["volumes"][0]["source"] == str(tmp_path / "run" / "serving")
    (out / "compose.yaml").write_text("mine")
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert (out / "compose.yaml").read_text() == "mine"
    assert CliRunner().invoke(app, [*command, "--force"]).exit_code == 0
    assert (out / "compose.yaml").read_text() != "mine"
    unknown = CliRunner().invoke(app, [*command, "--stable", "7"])
    assert unknown.exit_code == 1
