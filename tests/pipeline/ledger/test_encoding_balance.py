"""A day's encoding in a line."""

from __future__ import annotations

from pipeline.ledger.encoding_balance import EncodingBalance


def properties(text: str, encoded: int, reused: int = 0, missing: int = 0, replaced: str = "") -> dict[str, object]:
    counts = {"encoded": encoded, "reused": reused, "missing": missing, "span": 3}
    return {"text": text, **counts, "replaced_encoder": replaced}


def test_it_says_what_was_encoded_and_whether_by_another_encoder():
    balances = EncodingBalance.of_all(
        [properties("title", 9), properties("blurb", 0, 1200, 3), properties("title", 1203, replaced="0123")]
    )
    assert [str(of) for of in balances] == [
        "blurb: 0 encoded, 1,200 as before, 3 missing",
        "title: 1,203 encoded; by another encoder than before",
    ]
    assert EncodingBalance.of_all([]) == ()


def test_it_names_the_tuned_revision():
    tuned = {**properties("title", 3, 9), "revision": "0011aabbccdd"}
    (same,) = EncodingBalance.of_all([tuned])
    assert str(same) == "title: 3 encoded, 9 as before; by tuned revision 0011aabbccdd"
    (new,) = EncodingBalance.of_all([{**tuned, "replaced_encoder": "0123"}])
    assert str(new) == "title: 3 encoded, 9 as before; by another tuned revision than before, 0011aabbccdd"
