"""A label change that is killed anywhere leaves the labels of before or after, and all they name; the next ends it."""

from __future__ import annotations

import shutil
import signal

import pytest

from components.span_pusher.version_folder import drop_old, versions
from components.span_pusher.version_labels import knows, read_labels
from serving.bundle import check_bundle
from tests.fault_injection import DONE, helper
from tests.pipeline.killed_promotion import change
from tests.pipeline.made_store import MadeStore

ONE, TWO, THREE = (2024050001 + 100 * day for day in range(1, 4))
CHANGES = {
    # The version that `stable` goes back to was let go of by `push.keep_versions`, and is put back first.
    "stable": (ONE, {"stable": ONE, "canary": TWO}),
    "canary": (THREE, {"stable": THREE, "canary": THREE}),
    "remove": (THREE, {"stable": THREE}),
    "first": (THREE, {"stable": THREE, "canary": THREE}),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", CHANGES)
def test_a_label_change_killed_at_any_step(made: MadeStore, name: str) -> None:
    version, after = CHANGES[name]
    made.chain(3)
    config, base = made.config, made.config.root.parent
    drop_old(config.serving_path, 2)
    if name != "first":
        change(str(base), "stable", str(THREE))
        change(str(base), "canary", str(TWO))
    before = read_labels(config.models_config_path, "shop")
    start = base.with_name("start")
    shutil.copytree(base, start)
    with helper("tests.pipeline.killed_promotion") as child:
        for number in range(1, 1000):
            shutil.rmtree(base)
            shutil.copytree(start, base)
            status = child.call("tests.pipeline.killed_promotion:change", str(base), name, str(version), kill_at=number)
            labels = read_labels(config.models_config_path, "shop")
            assert labels in (before, after)
            for served in {*labels.values(), *versions(config.serving_path)}:
                check_bundle(config.serving_path / str(served))
            if status == DONE:
                break
            assert status == -signal.SIGKILL
            change(str(base), name, str(version))
            assert read_labels(config.models_config_path, "shop") == after
            assert knows(config.models_config_path, "shop")
            assert not [path for path in config.serving_path.parent.rglob(".*") if path.name.endswith(".partial")]
    assert read_labels(config.models_config_path, "shop") == after
    assert number > 2
