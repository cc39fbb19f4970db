"""The nodes of a day, for those who must not wait for TFX: the command line's lists and Airflow's DAG file.

Standard library only. A test holds it against the compiled graph.
"""

# In the order in which they run; each stands after all that it takes something from.
NODES = (
    "Champion",
    "ImportSchemaGen",
    "SpanExampleGen",
    "Yesterday",
    "SpanTransform",
    "StatisticsGen",
    "ExampleValidator",
    "NextSpanEvaluator",
    "UpdateDecider",
    "IncrementalTrainer",
    "Evaluator",
    "SpanPusher",
)

# What `warmspan run-node` returns for a node that is passed over: to Airflow's BashOperator, "skipped".
PASSED_OVER = 99
