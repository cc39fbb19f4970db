"""TensorBoard's page `Custom Scalars`: how the recommender is doing, from quality to cost."""

from __future__ import annotations

from typing import Any

from tensorboard.plugins.custom_scalar import layout_pb2

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
    "catalogue coverage (share)": ["recommended/coverage"],
    "unevenness of the recommendations (Gini)": ["recommended/gini"],
    "popularity percentile: recommended, and what came": ["(recommended|held_out)/popularity_percentile"],
    "median rank of what came": ["held_out/median_rank"],
    "loss: training, and held out": ["update/(loss|held_out)"],
}
_COST = {
    "seconds of a day": ["seconds/total"],
    "seconds a node": ["seconds/(?!total).*"],
    "bytes of a day": ["bytes/total"],
    "bytes a node": ["bytes/(?!total).*"],
}


def make_layout(metric: str) -> layout_pb2.Layout:
    """The page, with `metric` for quality."""
    quality: list[Any] = [
        _chart(f"next-span {metric}: the champion on a day that it has not seen", [f"next_span/{metric}"]),
        _chart(f"gate: {metric} of candidate and champion", [f"gate/{metric}"]),
        _margin(f"gate: candidate less champion, {metric}, with its interval", metric),
        _chart("pushed (1) or not (0)", ["decision/pushed"]),
        _chart(f"next-span {metric} by item: new, cold, warm", [f"next_span_slices/{metric}/item_.*"]),
        _chart(f"next-span {metric} by key: new, cold, warm", [f"next_span_slices/{metric}/key_.*"]),
        _chart(f"gate: {metric} by item", [f"gate_slices/{metric}/item_.*"]),
        _chart(f"gate: {metric} by key", [f"gate_slices/{metric}/key_.*"]),
    ]
    groups = {"Data": _DATA, "Tables": _TABLES, "Health": _HEALTH, "Cost": _COST}
    return layout_pb2.Layout(
        category=[
            layout_pb2.Category(title="Quality", chart=quality),
            *(
                layout_pb2.Category(title=title, chart=[_chart(name, tags) for name, tags in charts.items()])
                for title, charts in groups.items()
            ),
        ]
    )


def _chart(title: str, tags: list[str]) -> layout_pb2.Chart:
    # TensorBoard takes a tag for an expression that must match from the beginning, not to the end.
    lines = layout_pb2.MultilineChartContent(tag=[f"^{tag}$" for tag in tags])
    return layout_pb2.Chart(title=title, multiline=lines)


def _margin(title: str, metric: str) -> layout_pb2.Chart:
    series = layout_pb2.MarginChartContent.Series(
        **{name: f"gate_difference/{metric}/{name}" for name in ("value", "lower", "upper")}
    )
    return layout_pb2.Chart(title=title, margin=layout_pb2.MarginChartContent(series=[series]))
