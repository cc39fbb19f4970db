"""How the benchmark counts nights until the next push."""

from __future__ import annotations

import pytest

from benchmarks.after_refusal import summary, waits_of


@pytest.mark.parametrize(
    ("nights", "waits"),
    [
        ("", []),
        ("ppp", []),
        ("prp", [1]),
        ("prrpprp", [2, 1]),
        ("prr", [2]),
    ],
)
def test_the_nights_from_a_refusal_to_the_push_after_it_are_counted(nights: str, waits: list[int]) -> None:
    assert waits_of([night == "p" for night in nights]) == waits


def test_a_summary_is_over_all_seeds() -> None:
    def line(nights: str, recall: float) -> list[dict]:
        return [{"pushed": night == "p", "lesson": "", "next_span": recall} for night in nights]

    counted = summary([line("prp", 0.2), line("rrr", 0.1)])
    assert (counted["nights"], counted["pushed"], counted["refused"], counted["refusals_begun"]) == (6, 2, 4, 2)
    assert (counted["nights_to_next_push"], counted["longest"], counted["ended_refused"]) == (2.0, 3, 1)
    assert (counted["next_span_recall"], counted["spread_over_seeds"]) == (0.15, 0.0707)
