"""A bad model takes those back that were taught by what learned in its run."""

from __future__ import annotations

from components.span_pusher.version_folder import versions
from pipeline.ledger.models import read_model_lineage
from pipeline.operations.rollback import carry_out, make_rollback


def test_a_student_goes_with_the_run_in_which_its_teacher_learned(made):
    first, second = made.chain(2)
    third = made.day("2024-05-03", second, action="retrain", taught_by=[second])
    fourth = made.day("2024-05-04", third, action="retrain")
    carry_out(made.config, make_rollback(made.config, bad=second), "bots")
    assert made.revoked() == {second: "bots", third: f"descends from {second}: bots"}
    champion = read_model_lineage(made.config).champion()
    assert champion is not None
    assert champion.version == fourth
    assert versions(made.config.serving_path) == [first, fourth]
