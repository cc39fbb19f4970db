"""What the benchmark of new items compares, and counts as a hit."""

import numpy as np

from benchmarks.new_items import in_list, of_variant, recalls, table
from trainer.features.declaration import Feature
from trainer.settings import ModelSpec


def test_each_variant_has_a_kind_more_than_the_one_before():
    title, year, genres = (
        Feature(name=name, kind=kind)
        for name, kind in (("title", "text"), ("year", "number"), ("genres", "categories"))
    )
    spec = ModelSpec("two_tower", {}, 5, (title, year, genres))
    learned = {name: of_variant(spec, name).features for name in ("ids", "categories", "numbers", "features", "prior")}
    assert learned == {
        "ids": (),
        "categories": (genres,),
        "numbers": (year, genres),
        "features": (title, year, genres),
        "prior": (title, year, genres),
    }
    assert of_variant(spec, "prior").params == {"launch_prior": True}
    assert of_variant(spec, "features").params == {"launch_prior": False}


def test_of_equal_scores_any_may_come_first():
    scores = np.array([[0.0, 0.0, 0.0, 0.0], [3.0, 2.0, 1.0, 0.0], [5.0, 1.0, 1.0, 1.0]])
    own = np.array([[0.0], [1.0], [1.0]])
    assert in_list(scores, own, 2).tolist() == [0.5, 0.0, 1 / 3]
    assert in_list(scores, own, 3).tolist() == [0.75, 1.0, 2 / 3]
    assert in_list(scores[:, :0], own, 2).tolist() == [1.0, 1.0, 1.0]


def test_means_are_by_events_and_the_shelf_has_its_own():
    rows = [
        {"events": [2, 0, 0, 0, 8], "ids": [1, 0, 0, 0, 2], "ids_shelf": 1.5, "shelf_events": 2, "size": 10},
        {"events": [0, 5, 0, 0, 5], "ids": [0, 0, 0, 0, 5], "ids_shelf": 0.0, "shelf_events": 1, "size": 30},
    ]
    figures = recalls("ids", rows, 20)
    assert figures == [8 / 20, 1 / 2, 0, 0, 0, 7 / 13, 1.5 / 3, 20.0, (1 + 20 / 30) / 2]
    shown = table({"ids": [("ids", rows), ("ids", rows)], "prior": []}, 20)
    assert shown.row_count == 1
    assert len(shown.columns) == 1 + len(figures)
