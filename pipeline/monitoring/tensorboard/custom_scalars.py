"""TensorBoard's page `Custom Scalars`: how the recommender is doing, from quality to cost."""

from __future__ import annotations

from typing import Any

from tensorboard.plugins.custom_scalar import layout_pb2

from pipeline.metrics import title

# Titles are read on their own: each says what a line is.
_DATA = {
    "rows that were read, and events": ["data/(rows|events)"],
    "rejected and repeated rows": ["data/(rejects|duplicates|known)$"],
    "rejects by reason": ["data/rejects/.*"],
    "late and early events": ["data/(late|early)"],
    "new items and new keys": ["data/new_(items|keys)"],
    "drift from the nearest of the days before": ["drift/.*"],
    "anomalies found by ExampleValidator": ["data/anomalies"],
}
_TABLES = {
    "rows of the tables": ["tables/(item|key)_rows"],
    "spans that the champion owes": ["tables/owed_spans"],
    "length of the items' vectors, median: old and new rows": ["norms/items/(old|new)/p50"],
    "length of the keys' vectors, median: old and new rows": ["norms/keys/(old|new)/p50"],
}
_HEALTH = {
    "neighbours that changed since yesterday's model (share)": ["neighbours/churn"],
    "catalogue coverage (share): the new model on held-out users, the champion on the day's": [
        "recommended/coverage",
        "served_lists/coverage",
    ],
    "unevenness of the recommendations (Gini)": ["recommended/gini"],
    "popularity percentile: recommended, and what came": ["(recommended|held_out)/popularity_percentile"],
    "popularity percentile on the day: the champion's lists, and what was taken": ["served_lists/(recommended|taken)"],
    "median rank of what came": ["held_out/median_rank"],
    "loss: training, and held out": ["update/(loss|held_out)"],
}
_COST = {
    "seconds of a day": ["seconds/total"],
    "seconds a node": ["seconds/(?!total).*"],
    "bytes of a day": ["bytes/total"],
    "bytes a node": ["bytes/(?!total).*"],
}


def make_layout(metric: str, k: int, dates: str, catalogue: bool = False) -> layout_pb2.Layout:
    """The page, with `metric` for quality; `dates` says what the steps are. With a `catalogue`, new items too."""
    name = title(metric, k)
    quality: list[Any] = [
        _chart(
            f"next-span {name}: the champion on a day that it has not seen, and the most popular items",
            [f"next_span/{metric}"],
        ),
        _chart(f"gate: {name} of candidate and champion", [f"gate/{metric}"]),
        _margin(f"gate: candidate less champion, {name}, with its interval", metric),
        _chart("pushed (1) or not (0)", ["decision/pushed"]),
        _chart(f"next-span {name} by item: new, cold, warm", [f"next_span_slices/{metric}/item"]),
        _chart(f"next-span {name} by key: new, cold, warm", [f"next_span_slices/{metric}/key"]),
        _chart("events by item: new, cold, warm", ["next_span_slices/events/item"]),
        _chart("events by key: new, cold, warm", ["next_span_slices/events/key"]),
        _chart(f"gate: candidate less champion by item, {name}", [f"gate_slices/{metric}/item/difference"]),
        _chart(f"gate: candidate less champion by key, {name}", [f"gate_slices/{metric}/key/difference"]),
    ]
    if catalogue:  # a chart each: TensorBoard gives a colour to a run, not to a tag
        quality += [
            *(
                _chart(
                    f"next-span {name} on items with {before} events before", [f"next_span_by_events/{metric}/{tag}$"]
                )
                for before, tag in (
                    ("no", "0"),
                    ("1 to 4", "1-4"),
                    ("5 to 19", "5-19"),
                    ("20 and more", "(20-99|100\\+)"),
                )
            ),
            _chart("the shelf: recall among items without events alone", ["shelf/recall"]),
            _chart("the shelf: what chance finds there", ["shelf/chance"]),
        ]
    groups = {"Data": _DATA, "Tables": _TABLES, "Health": _HEALTH, "Cost": _COST}
    return layout_pb2.Layout(
        category=[
            layout_pb2.Category(title=f"Quality: {dates}", chart=quality),
            *(
                layout_pb2.Category(title=group, chart=[_chart(heading, tags) for heading, tags in charts.items()])
                for group, charts in groups.items()
            ),
        ]
    )


def _chart(heading: str, tags: list[str]) -> layout_pb2.Chart:
    # TensorBoard takes a tag for an expression that must match from the beginning, not to the end.
    lines = layout_pb2.MultilineChartContent(tag=[f"^{tag}$" for tag in tags])
    return layout_pb2.Chart(title=heading, multiline=lines)


def _margin(heading: str, metric: str) -> layout_pb2.Chart:
    series = layout_pb2.MarginChartContent.Series(
        **{name: f"gate_difference/{metric}/{name}" for name in ("value", "lower", "upper")}
    )
    return layout_pb2.Chart(title=heading, margin=layout_pb2.MarginChartContent(series=[series]))
