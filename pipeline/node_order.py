"""The nodes of a day, for those who must not wait for TFX: the command line's lists and Airflow's DAG file.

Standard library only. A test holds it against the compiled graph.
"""

# In the order in which they run; each stands after all that it takes something from.
NODES = (
    "Anchor",
    "Champion",
    "ImportSchemaGen",
    "SpanExampleGen",
    "Usual",
    "Yesterday",
    "StatisticsGen",
    "ExampleValidator",
    "SpanGuard",
    "SpanTransform",
    "NextSpanEvaluator",
    "UpdateDecider",
    "IncrementalTrainer",
    "PairedComparison",
    "Evaluator",
    "SpanPusher",
)

# Says whether the span is held: then nothing after it runs.
GUARD = "SpanGuard"
# Takes the decision, and is told of another one by `--decide`.
DECIDER = "UpdateDecider"
PUSHER = "SpanPusher"

_LEARN, _JUDGE = NODES.index("NextSpanEvaluator"), NODES.index("PairedComparison")

# How a scheduler may cut a day into tasks, each a process that imports TFX once; every task is nodes in a row.
GROUPINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "nodes": {node: (node,) for node in NODES},
    "stages": {"Prepare": NODES[:_LEARN], "Learn": NODES[_LEARN:_JUDGE], "Judge": NODES[_JUDGE:]},
    "day": {"Day": NODES},
}

# What `warmspan run-node` returns when the last node that it is given is passed over: to Airflow, "skipped".
PASSED_OVER = 99
