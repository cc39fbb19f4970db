"""What each number of the report means: its footnotes."""

DEFINITIONS = {
    "span": "One partition of events, usually a day. “r2” is the second run of the same span.",
    "events": "Rows of the span that are events: with a key, an item and a time, each counted once.",
    "rejects": "Rows of the span that were not used; rejects.csv beside the events names each with its reason.",
    "new ids": "Items and keys (users or sessions) that got a row of their own on this span.",
    "rows": "Rows of the embedding tables after the span, padding and out-of-vocabulary rows included.",
    "decision": "What was done with the span: train from fresh weights (cold start, retrain), fine-tune the champion, "
    "or skip.",
    "next-span": "The champion's metric on the whole new span, measured before anything was trained on that span.",
    "candidate": "The metric of the newly trained model on the span's held-out events, its last ones by time.",
    "champion": "The metric of the model in service on the same held-out events.",
    "verdict": "Blessed: the candidate met every threshold of the gate and was pushed. Refused: it did not, and the "
    "champion stays in service.",
    "revoked": "Blessed and pushed, and taken back since: no longer served, and never again a model to start from.",
    "slice": "Part of the held-out events. An item or key is new if it was never trained on before the span, cold if "
    "fewer times than the setting gate.cold_below, else warm.",
    "seconds": "From the start to the end of a node as ML Metadata has it, without the start of the process.",
    "version": "The folder that TF Serving loads: the span's date and a two-digit revision.",
    "learned": "How many spans a version and the versions it was fine-tuned from have trained on.",
    "recall": "recall@k: share of held-out events whose item is among the k best of the whole catalogue; k is the "
    "setting gate.k.",
    "ndcg": "ndcg@k: as recall@k, but an item at rank r counts 1 / log2(r + 1).",
    "mrr": "mrr@k: as recall@k, but an item at rank r counts 1 / r.",
    "rmse": "Root of the mean squared error of the predicted rating; lower is better.",
    "auc": "Chance that an event of label 1 is scored above one of label 0.",
}
