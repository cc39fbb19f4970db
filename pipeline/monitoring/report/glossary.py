"""What each number of the report means: its footnotes."""

DEFINITIONS = {
    "span": "One partition of events, usually a day. “r2” is the second run of the same span.",
    "events": "Rows of the span that are events: with a key, an item and a time, each counted once.",
    "rejects": "Rows of the span that were not used; rejects.csv beside the events names each with its reason.",
    "rows read": "All rows of the span's files. Each is an event, a reject or a duplicate.",
    "duplicates": "Rows that say the same as another of the span: key, item, time, weight and context. One is kept.",
    "late": "Of the events, those from before or after the span's own time: data.late: accept takes them in.",
    "new ids": "Items and keys (users or sessions) that got a row of their own on this span.",
    "rows": "Rows of the embedding tables after the span, padding and out-of-vocabulary rows included.",
    "decision": "What was done with the span: train from fresh weights (cold start, retrain), fine-tune the champion, "
    "or skip.",
    "learning": "The factors that update.after_refusal has put on the training's rate, replay and epochs since a "
    "refusal, or since a candidate that was worse by the bound.",
    "most popular": "The same metric of a list that is the same for everybody: the items with the most events before "
    "the span, each event counting half after vocabulary.half_life_spans. No training changes it: where it falls too, "
    "the days became harder to foretell.",
    "next-span": "The champion's metric on the whole new span, measured before anything was trained on that span.",
    "candidate": "The metric of the newly trained model on the span's held-out events, its last ones by time.",
    "teacher": "A model of another shape that teaches the candidate (update.teacher), by the version of the run in "
    "which it learned last; and what it would have scored on the events that judge the candidate. It is not served, "
    "and no verdict is about it.",
    "champion": "The metric of the model in service on the same held-out events.",
    "verdict": "Blessed: nothing that the gate looks at spoke against the candidate, and it was pushed. Refused: "
    "something did, and the champion stays in service.",
    "revoked": "Blessed and pushed, and taken back since: no longer served, and never again a model to start from.",
    "interval": "Bounds that the difference of candidate and champion lies between with a probability of 95 %, unless "
    "the setting gate.confidence says otherwise; the events of a key count as one observation. Bounds on both sides of "
    "nought: the two may be equally good.",
    "why": "Of a span that was held, refused, taken back or not ended the first reason, else the reason of what was "
    "decided.",
    "coverage": "Share of the catalogue in at least one of the lists of up to 1,000 of the span's users, asked of the "
    "champion's bundle.",
    "popularity percentile": "Mean place of an item by events before the span, from 0 % for the least to 100 % for the "
    "most popular: of what those lists hold, and of what the users took. Far above it the lists favour the popular.",
    "slice": "Part of the held-out events. An item or key is new if it was never trained on before the span, cold if "
    "fewer times than the setting gate.cold_below, else warm.",
    "shelf": "Items that the catalogue sells and nobody has met yet, as the champion knows them: its recall on their "
    "first events, ranked among themselves alone. Chance: the length of the list over the length of the shelf.",
    "seconds": "From the start to the end of a node as ML Metadata has it, without the start of the process.",
    "version": "The folder that TF Serving loads: the span's date and a two-digit revision.",
    "learned": "How many spans a version and the versions it was fine-tuned from have trained on.",
    "examples": "What the training went over, each epoch counted, and what was replayed: events, or whole histories "
    "with a model that learns from those.",
    "training": "Wall seconds inside of the training itself, without the start of the process or the export.",
    "full retrain": "Estimated: the events of all spans up to the day, for as many epochs as the day's training had a "
    "span, without replay. Its seconds are the day's own, and those of what there is more at the fastest of the days' "
    "rates. A real one may stop earlier.",
    "share of a retrain": "Examples of the day by those of a full retrain on that day.",
    "before": "The best items by the model that was in service before the push, on the same history.",
    "after": "The best items by the pushed model. Computed from its trained state, which the export was held against "
    "before the push.",
    "next": "The user's held-out event, which neither model had seen.",
    "share": "The event's term of the score. The terms and what else there is add up to the score; with the method "
    "“left out” there are none.",
    "without it": "By how much the score changes when that event alone is taken out of the history and the model is "
    "asked again.",
    "anomaly": "What TFX's ExampleValidator finds the span's statistics to break of the schema.",
    "figures": "From TFX's StatisticsGen, of the part of the span that is trained on.",
    "drift": "Distance, 0 to 1, to the nearest of the spans before by TFDV's comparators, for the columns that "
    "policy.drift.columns names, where it is beyond a limit.",
    "trained from": "The models whose weights or replay memory the training started from.",
    "disk": "Bytes of the files under the pipeline root, each counted once; ML Metadata only where it is SQLite.",
    "recall": "recall@k: share of held-out events whose item is among the k best of the whole catalogue; k is the "
    "setting gate.k.",
    "ndcg": "ndcg@k: as recall@k, but an item at rank r counts 1 / log2(r + 1).",
    "mrr": "mrr@k: as recall@k, but an item at rank r counts 1 / r.",
    "rmse": "Root of the mean squared error of the predicted rating; lower is better.",
    "auc": "Chance that the item of an event is scored above another of the catalogue.",
    "roc_auc": "Chance that an event of label 1 is scored above one of label 0.",
    "log_loss": "Mean negative log-likelihood of the labels; lower is better.",
    "accuracy": "Share of the events whose label is predicted, from probability 0.5 on as 1.",
    "f1": "Harmonic mean of precision and recall of label 1, from probability 0.5 on.",
}
