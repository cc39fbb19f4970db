"""Which columns of the events say something of the moment and the request, so that a model could be asked with them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pipeline.init.guess import Guess
from pipeline.init.item_features import propose
from pipeline.init.sample import Column


def propose_context(columns: Sequence[Column], taken: Collection[str]) -> list[Guess]:
    """What `features.context` could be, as comments: what is known when a request is made is not for us to say.

    Args:
      columns: of the events.
      taken: names of those that are the event itself, or may be its weight.
    """
    proposals = [
        proposal
        for column in columns
        if column.name not in taken
        for proposal in propose(column)
        if "pattern" not in proposal.declared
    ]
    if not proposals:
        return []
    heading = "columns of the events; what of them is known before the event, of the moment, could be these:"
    return [Guess("features.context", [], "\n".join([heading, *map(str, proposals)]))]
