"""A teacher through the whole daily graph: refreshed every second day, its lineage beside that of its students."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.config import Config, load_config
from pipeline.erasure import users
from pipeline.ledger.artifacts import TEACHER, read_artifacts
from pipeline.ledger.models import model_lineage_in
from pipeline.ledger.runs import read_ledger
from pipeline.metadata_store.connection import open_store
from pipeline.monitoring.report import write_report
from pipeline.node_order import NODES
from pipeline.operations.accounting import check_accounted
from pipeline.operations.garbage_collection import carry_out, make_cleanup
from pipeline.orchestration.node_run import run_nodes
from pipeline.orchestration.span_run import SpanRun
from pipeline.spans import Naming
from trainer.train_state import ModelState
from trainer.vocabulary import Vocabulary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.filterwarnings("default")]

_DAYS = ("2024-05-01", "2024-05-02", "2024-05-03")


def with_teacher(config: Config) -> Config:
    path = config.root.parent / "warmspan.yaml"
    teacher = "teacher: {type: two_tower, params: {dimension: 16}, every: 2}"
    path.write_text(path.read_text().replace("update: {epochs: 1}", f"update: {{epochs: 1, {teacher}}}"))
    return load_config(path)


def test_a_teacher_is_refreshed_every_second_day_and_its_students_say_by_whom(make_shop):
    config = with_teacher(make_shop(3))
    list(run_nodes(config, NODES, _DAYS[0]))  # as under a scheduler, whose tasks know nothing of teachers
    for day in _DAYS[1:]:
        SpanRun(config, Naming(True).parse(day), 1).run()
    runs = read_ledger(config)
    first, second, third = (run.teacher for run in runs)
    versions = [Naming(True).version(run.span, 1) for run in runs]
    assert [run.state for run in runs] == ["done"] * 3
    assert [(of.version, of.refreshed, of.base_version) for of in (first, second, third)] == [
        (versions[0], True, None),
        (versions[0], False, None),
        (versions[2], True, versions[0]),
    ]
    assert all(0 <= of.metrics["recall"] <= 1 for of in (first, second, third))
    assert "TeacherTrainer" in runs[0].seconds

    store = open_store(config)
    assert store is not None
    lineage = model_lineage_in(store, config.name)
    assert [model.taught_by for model in lineage.models] == [
        (versions[0],), (versions[0],), (versions[0], versions[2]),
    ]  # fmt: skip
    records = read_artifacts(config, store)
    check_accounted(config, store, records)
    page = write_report(config, config.root / "report.html").read_text()
    assert "taught by" in page
    assert f"<small>teacher {third.metrics['recall']:.3f}" in page

    carry_out(config, make_cleanup(config))
    last = read_artifacts(config, store).of(TEACHER)[-1]
    assert json.loads(last.properties["learned"]) == list(ModelState.load(last.folder / "state").learned)

    keys = Vocabulary.load(read_artifacts(config, store).of("SpanTransform/vocabulary")[-1].folder, "keys")

    def row() -> np.ndarray:
        return ModelState.load(last.folder / "state").weights["key_embedding/embeddings"][keys.first_row]

    assert row().any()
    users.carry_out(config, users.make_erasure(config, [keys.ids[0].as_py().decode()]))
    assert not row().any()
